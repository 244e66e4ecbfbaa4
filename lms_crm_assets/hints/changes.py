"""The changes contract's webhooks (docs/changes-contract.md), and batches that came by our own connector API."""

from collections.abc import Iterator
from typing import Any

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints.found import UNKNOWN, UNREADABLE, Finding, lacking, member, row


def is_envelope(told: Any) -> bool:
    """Whether it has the shape of Standard Webhooks."""
    return isinstance(member(told, "type"), str) and isinstance(member(told, "data"), dict)


def envelope(told: Any) -> Iterator[Finding]:
    """What one webhook touches: the row in `data`, or those in `data.items`."""
    if not is_envelope(told):
        yield lacking(UNREADABLE, "changes")
        return
    name, items = told["type"], member(told, "data", "items")
    if items is None and member(told, "data", "entity") is None:
        yield lacking(UNKNOWN, name)
        return
    if items is None:
        items = [told["data"]]
    elif not isinstance(items, list):
        yield lacking(UNREADABLE, name)
        return
    for item in items:
        yield _row(member(item, "entity"), item)


def batch(told: Any) -> Iterator[Finding]:
    """What a batch of rows of one entity touches."""
    items = member(told, "items")
    if not isinstance(items, list):
        yield lacking(UNREADABLE, "batch")
        return
    for item in items:
        yield _row(member(told, "entity"), item)


def _row(entity: Any, item: Any) -> Finding:
    if not isinstance(entity, str) or entity not in set(LmsEntity):
        return lacking(UNKNOWN, entity)
    return row(LmsEntity(entity), member(item, "id"), entity)
