"""What a Salesforce org calls us with: a Flow's HTTP callout in JSON, or outbound messages in SOAP.

A Flow sends `{"object": "Contact", "ids": ["003…", …]}`, or a list of such.
"""

import re
from collections.abc import Iterator
from typing import Any

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.hints.found import UNKNOWN, UNREADABLE, CrmKey, Finding, elements, lacking, member
from lms_crm_assets.hints.soap import notifications

_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-5]{3})?", re.ASCII)
_SHORT = 15
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def callout(contract: Contract, told: Any) -> Iterator[Finding]:
    """What a Flow's callout touches."""
    name, ids = member(told, "object"), member(told, "ids")
    if not isinstance(name, str) or not isinstance(ids, list | str):
        yield lacking(UNREADABLE, "salesforce")
        return
    for each in elements(ids):
        yield from _record(contract, name, each)


def outbound(contract: Contract, body: bytes) -> Iterator[Finding]:
    """What the notifications of an outbound message touch."""
    found = notifications(body)
    if found is None:
        yield lacking(UNREADABLE, "soap")
        return
    for name, record in found:
        yield from _record(contract, name, record)


def long_id(value: Any) -> str | None:
    """A record's id of 18 characters, which the 15 of the short one make; None for what is neither.

    The last three tell which of the others are capitals (Salesforce help, "15- and 18-character IDs"). One whose letters
    somebody changed doesn't name the record any more.
    """
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        return None
    short = value[:_SHORT]
    parts = (short[n : n + 5] for n in range(0, _SHORT, 5))
    check = "".join(_LETTERS[sum(1 << n for n, c in enumerate(part) if "A" <= c <= "Z")] for part in parts)
    return short + check if value[_SHORT:].upper() in {"", check} else None


def _record(contract: Contract, name: str, record: Any) -> Iterator[Finding]:
    objects = [obj for obj, mapping in contract.objects.items() if mapping.to.lower() == name.lower()]
    if not objects:
        yield lacking(UNKNOWN, name)
        return
    key = long_id(record)
    if key is None:
        yield lacking(UNREADABLE, name, " without a usable id")
        return
    for obj in objects:
        yield CrmKey(obj, key)
