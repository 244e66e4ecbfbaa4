"""Thinkific's webhooks: `{id, resource, action, tenant_id, created_at, payload}`, one event a delivery.

A row of enrollments tells the completion too, both have the enrollment's id.
"""

from collections.abc import Iterator
from typing import Any

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints.found import UNKEYED, UNKNOWN, UNREADABLE, Finding, Key, decimal_id, lacking, member

_ROWS = {
    "user": (LmsEntity.LEARNERS,),
    "course": (LmsEntity.COURSES,),
    "enrollment": (LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS),
}
# They come beside an `enrollment.progress`.
_OF_ENROLLMENTS = {"lesson", "quiz"}
# Signing in changes nothing.
_IDLE = {"user.signin", "user.sign_in"}


def event(told: Any) -> Iterator[Finding]:
    """What one event touches."""
    resource, action = member(told, "resource"), member(told, "action")
    if not isinstance(resource, str) or not isinstance(action, str):
        yield lacking(UNREADABLE, "thinkific")
        return
    name = f"{resource}.{action}"
    if name in _IDLE:
        return
    if resource in _OF_ENROLLMENTS:
        resource, own = "enrollment", decimal_id(member(told, "payload", "enrollment_id"))
    else:
        own = decimal_id(member(told, "payload", "id"))
    if resource not in _ROWS:
        yield lacking(UNKNOWN, name)
    elif own is None:
        yield lacking(UNKEYED, name)
    else:
        for entity in _ROWS[resource]:
            yield Key(entity, own)
