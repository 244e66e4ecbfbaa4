r"""Events as the plugin `local_webhooks` posts them: one a delivery, unsigned, its secret in the body, sent once.

Fields and names are those of recorded deliveries of Moodle 4.5.6. An id comes as a number or as a text, whichever PHP had
at hand. Moodle has no event for a rating that is taken back, and tells nothing of one.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from lms_crm_assets.sandbox.moodle.site import Site
from lms_crm_assets.sandbox.moodle.tables import Row
from lms_crm_assets.sandbox.webhooks import Delivery, Event, Subscription, Wording

_ADMIN = "2"
_COURSE, _USER = 50, 30
_DONE = {"create": "created", "update": "updated", "delete": "deleted"}
_PROGRESS = {"Student progress", "Completed", "Time completed"}
_MEMBERSHIP = {"Status", "Role", "Time started", "Time ends", "Time created"}


class PluginVoice:
    """One event a delivery; what is not taken is lost."""

    events_together = most_together = tries = 1
    tells_source = False

    def check(self, subscription: Subscription) -> None:
        """Any text is a token."""

    def words(self, subscription: Subscription, delivery: Delivery, at: float) -> Wording:  # noqa: ARG002 - it has no time
        """The event with the plugin's own members."""
        own = {"host": "127.0.0.1", "token": subscription.secret, "extra": ""}
        body = orjson.dumps({**orjson.loads(delivery.events[0]), **own})
        return Wording(body, {"content-type": "application/json", "user-agent": "MoodleBot/4.5 (+http://127.0.0.1)"})


def members_of(site: Site, change: Mapping[str, Any]) -> list[Row]:
    """The enrolments that go with a user or a course that is about to be deleted."""
    if change.get("op") != "delete" or change.get("object") not in {"users", "courses"}:
        return []
    column = "userid" if change["object"] == "users" else "courseid"
    named = str(change.get("key", change.get("id")))
    return site.enrolments.where(column, int(named)) if named.isdecimal() else []


def events(site: Site, change: Mapping[str, Any], row: Row, members: list[Row]) -> Iterator[Event]:
    """What Moodle says of a change that was made: `row` is the record afterwards, `members` what went with it."""
    kind, op, fields = change["object"], change["op"], change.get("fields", {}).keys()
    for member in members:
        yield _event("user_enrolment_deleted", user=member["userid"], course=member["courseid"])
    if kind == "users":
        yield _event(f"user_{_DONE[op]}", user=row["id"], own=row["id"])
    elif kind == "courses":
        yield _event(f"course_{_DONE[op]}", course=row["id"], own=row["id"])
    elif kind == "enrolments":
        about = {"user": row["userid"], "course": row["courseid"]}
        if op != "update" or fields & _MEMBERSHIP:
            yield _event(f"user_enrolment_{_DONE[op]}", **about)
        if op != "delete" and fields & _PROGRESS:
            yield _event("course_module_completion_updated", **about)
            if row["Completed"] == "Yes":
                yield _event("course_completed", **about)
        if op != "delete" and "Grade" in fields:
            yield _event("user_graded", **about)
    elif op != "delete":
        competency = next(each["id"] for each in site.competencies if each["idnumber"] == row["competency_idnumber"])
        yield _event("competency_user_competency_rated", user=row["userid"], other={"competencyid": competency})


def _event(
    name: str, *, user: int | None = None, course: int | None = None, own: int | None = None, other: Row | None = None
) -> Event:
    target, _, action = name.rpartition("_")
    return {
        "eventname": f"\\core\\event\\{name}",
        "component": "core",
        "action": action,
        "target": target,
        # What has no id here has one in Moodle.
        "objectid": _id(random.randrange(1, 10_000) if own is None else own),  # noqa: S311 - no secret
        "crud": {"created": "c", "deleted": "d"}.get(action, "u"),
        "contextlevel": _COURSE if course else _USER,
        "contextinstanceid": str(course or user),
        "userid": _ADMIN,
        "courseid": _id(course or 0),
        "relateduserid": None if user is None else _id(user),
        "anonymous": 0,
        "other": other,
    }


def _id(number: int) -> int | str:
    return random.choice((number, str(number)))  # noqa: S311 - as above
