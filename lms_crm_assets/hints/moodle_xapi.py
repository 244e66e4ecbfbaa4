"""Statements of Moodle's xAPI logstore, in batches without ids.

The name of Moodle's event is in the context, the course is an address in the object or its parents. The learner is the
actor: by the account's id as the plugin comes, by username or e-mail address where it was told to send those.
"""

import re
from collections.abc import Iterator
from typing import Any

from lms_crm_assets.contract.models import MoodleSource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints.found import UNREADABLE, By, Finding, Lead, decimal_id, elements, lacking, member, text_key
from lms_crm_assets.hints.moodle import CORE, OF_COURSES, OF_USERS, Told, of_event

_INFO = "http://lrs.learninglocker.net/define/extensions/info"
_COURSE = re.compile(r"[^?#]*/course/view\.php\?(?:[^#]*&)?id=([0-9]{1,19})(?:[&#].*)?", re.DOTALL)
_USER = re.compile(r"[^?#]*/user/(?:view|profile)\.php\?(?:[^#]*&)?id=([0-9]{1,19})(?:[&#].*)?", re.DOTALL)
_COMPETENCY = re.compile(r"[^?#]*\?(?:[^#]*&)?competencyid=([0-9]{1,19})(?:[&#].*)?", re.DOTALL)
_LONGEST_ADDRESS = 2048
_MAILTO = "mailto:"
# A deleted account's username: its address, and the epoch seconds at which it was deleted.
_DELETED = re.compile(r"(.+@.+)\.[0-9]{9,11}", re.DOTALL)


def statement(source: MoodleSource, told: Any) -> Iterator[Finding]:
    """What one statement touches."""
    full = member(told, "context", "extensions", _INFO, "event_name")
    if not isinstance(full, str):
        yield lacking(UNREADABLE, "xapi")
        return
    name = full.removeprefix(CORE)
    thing, around = member(told, "object"), member(told, "context", "contextActivities")
    places = [thing, *elements(member(around, "parent")), *elements(member(around, "grouping"))]
    course = _found(_COURSE, places)
    if name in OF_COURSES:
        yield from of_event(source, Told(name, course=course))
        return
    people = {_agent(name, member(told, "actor"))}
    if name in OF_USERS:
        # Of a deletion the actor is who deleted.
        people |= {_agent(name, thing), _found(_USER, [thing])}
    for user in people - {None} or {None}:
        yield from of_event(source, Told(name, user, course, _found(_COMPETENCY, places)))


def _found(address: re.Pattern[str], activities: list[Any]) -> str | None:
    """The id in the first address of that form."""
    for activity in activities:
        told = member(activity, "id")
        if isinstance(told, str) and len(told) <= _LONGEST_ADDRESS and (found := address.fullmatch(told)):
            return decimal_id(found[1])
    return None


def _agent(event: str, agent: Any) -> str | Lead | None:
    """Who it is. A name in digits is an id, as the plugin sends it unless it is told to send usernames.

    A batch comes minutes after its events: whose account was deleted meanwhile is known to us by the address alone.
    """
    name, mbox = text_key(member(agent, "account", "name")), text_key(member(agent, "mbox"))
    if name is not None and (deleted := _DELETED.fullmatch(name)):
        return _lead(event, "email", deleted[1].lower())
    if name is not None:
        return decimal_id(name) or _lead(event, "username", name)
    if mbox is not None and mbox.startswith(_MAILTO):
        return _lead(event, "email", mbox.removeprefix(_MAILTO).lower())
    return None


def _lead(event: str, by: By, value: str) -> Lead:
    return Lead(LmsEntity.LEARNERS, by, value, "", event)
