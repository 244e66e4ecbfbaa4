"""Which delivery a body is: the sender's id where it gives one, so that its repeats are one event.

Otherwise an id is derived from the body (`inbox.DERIVED`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.ops.inbox import DERIVED

_ID = re.compile(r"[!-~]{1,256}")
_THINKIFIC = frozenset({"id", "resource", "action", "payload"})
# What a repeat of the same claims may have anew.
_OF_THE_TOKEN = frozenset({"jti", "iat", "exp", "nbf"})


@dataclass(frozen=True, slots=True)
class Identity:
    """A delivery's id, and what has to be equal in its repeats where that is not the body."""

    delivery_id: str
    essence: bytes | None = None


def of_body(body: bytes) -> Identity:
    """A delivery without an id: the same words are the same delivery."""
    return Identity(DERIVED + hashlib.sha256(body).hexdigest())


def of_thinkific(document: Any, body: bytes) -> Identity:
    """A delivery of Thinkific's shape has an id; of another shape an `id` may be the record's."""
    if isinstance(document, dict) and document.keys() >= _THINKIFIC:
        given = document["id"]
        if isinstance(given, str | int) and not isinstance(given, bool) and _ID.fullmatch(str(given)):
            return Identity(str(given))
    return of_body(body)


def of_claims(claims: Mapping[str, Any]) -> Identity:
    """A JWT's id, or one over what it claims: a repeat may be signed anew."""
    essence = _canonical({name: value for name, value in claims.items() if name not in _OF_THE_TOKEN})
    given = claims.get("jti")
    if isinstance(given, str) and _ID.fullmatch(given):
        return Identity(given, essence)
    return of_body(essence)


def of_hubspot(document: Any, body: bytes) -> Identity:
    """HubSpot's batch: over its events, without the number of the attempt.

    HubSpot's event ids are not promised to be unique, so all that an event says counts.
    """
    if not isinstance(document, list) or not document or not all(isinstance(each, dict) for each in document):
        return of_body(body)
    events = [{name: value for name, value in each.items() if name != "attemptNumber"} for each in document]
    if not all("eventId" in each for each in events):
        return of_body(body)
    essence = b"\n".join(sorted(_canonical(each) for each in events))
    return Identity(f"hubspot:{hashlib.sha256(essence).hexdigest()}", essence)


def of_notifications(ids: list[str], body: bytes) -> Identity:
    """Salesforce's outbound message: over its notifications' ids; the session id in it may be another one."""
    if not ids:
        return of_body(body)
    essence = "\n".join(sorted(ids)).encode()
    return Identity(f"salesforce:{hashlib.sha256(essence).hexdigest()}", essence)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
