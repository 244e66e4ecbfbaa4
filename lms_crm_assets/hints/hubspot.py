"""HubSpot's webhooks: a list of events, each about one record, a merge or an association about several.

Changes that we made ourselves come back too. `changeSource` doesn't tell reliably whose they are, so they are hints like
others: what is looked at and agrees costs one read.
"""

import re
from collections.abc import Iterator
from typing import Any

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.hints.found import (
    UNKEYED,
    UNKNOWN,
    UNREADABLE,
    CrmKey,
    Finding,
    decimal_id,
    elements,
    lacking,
    member,
)

# HubSpot docs: "Understanding the CRM", object type ids.
_TYPES = {
    "contact": "0-1",
    "contacts": "0-1",
    "company": "0-2",
    "companies": "0-2",
    "deal": "0-3",
    "deals": "0-3",
    "ticket": "0-5",
    "tickets": "0-5",
    "product": "0-7",
    "products": "0-7",
    "line_item": "0-8",
    "line_items": "0-8",
    "course": "0-410",
    "courses": "0-410",
}
_CUSTOM_TYPE = re.compile(r"2-[0-9]{1,19}")
_CUSTOM = "p_"
_OF_ANY = "object"
_ONE = {"creation", "deletion", "propertyChange", "restore", "privacyDeletion"}
_MERGE, _ASSOCIATION = "merge", "associationChange"


def event(contract: Contract, told: Any) -> Iterator[Finding]:
    """What one event touches."""
    name = member(told, "subscriptionType")
    if not isinstance(name, str):
        yield lacking(UNREADABLE, "hubspot")
        return
    of, _, kind = name.partition(".")
    records: list[tuple[Any, Any]]
    own = member(told, "objectTypeId") or of
    if kind in _ONE:
        records = [(own, member(told, "objectId"))]
    elif kind == _MERGE:
        merged = [member(told, "primaryObjectId"), member(told, "newObjectId"), member(told, "objectId")]
        records = [(own, each) for each in (*merged, *elements(member(told, "mergedObjectIds"))) if each is not None]
    elif kind == _ASSOCIATION:
        start, end = _ends(told, own)
        records = [(start, member(told, "fromObjectId")), (end, member(told, "toObjectId"))]
    else:
        records = []
    found: list[Finding] = [
        CrmKey(obj, key) for to, each in records if (key := decimal_id(each)) for obj in _objects(contract, to)
    ]
    ours = any(_objects(contract, to) for to, _ in records)
    yield from found or [lacking(UNKEYED if ours else UNKNOWN, name)]


def _ends(told: Any, own: Any) -> tuple[Any, Any]:
    """The types of an association's two records; `CONTACT_TO_COMPANY` where their ids aren't told."""
    kind = member(told, "associationType")
    start, _, end = kind.lower().partition("_to_") if isinstance(kind, str) else ("", "", "")
    named = own if own != _OF_ANY else start
    return member(told, "fromObjectTypeId") or named, member(told, "toObjectTypeId") or end


def _objects(contract: Contract, told: Any) -> list[CrmObject]:
    """The contract's objects that are of this type.

    Events tell a custom object's number and contracts its name: any of those may be meant, and a look at a record that
    isn't there does no harm.
    """
    if not isinstance(told, str):
        return []
    wanted = _TYPES.get(told, told)
    custom = _CUSTOM_TYPE.fullmatch(wanted) is not None
    return [
        obj
        for obj, mapping in contract.objects.items()
        if _TYPES.get(mapping.to, mapping.to) == wanted or (custom and mapping.to.startswith(_CUSTOM))
    ]
