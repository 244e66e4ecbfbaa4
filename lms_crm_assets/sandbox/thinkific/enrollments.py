"""Enrollments, with the progress in them, and the filters by which they are listed."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Store
from lms_crm_assets.sandbox.thinkific.listings import Listings
from lms_crm_assets.sandbox.thinkific.people import full_name, number_of, user_of, with_fraction
from lms_crm_assets.sandbox.thinkific.wire import Call, flag, not_found, unprocessable, whole

_FLAGS = frozenset({"completed", "expired", "free_trial", "full"})
_NUMBERS = frozenset({"user_id", "course_id"})
_RELATIONS: Mapping[str, Callable[[datetime, datetime], bool]] = {
    "after": operator.gt,
    "before": operator.lt,
    "on": lambda moment, wanted: moment.date() == wanted.date(),
    "on_or_after": operator.ge,
    # A day is up to its end.
    "on_or_before": lambda moment, wanted: moment < wanted + timedelta(days=1),
}
_TIMES = {f"{what}_{relation}": (what, relation) for what in ("updated", "created") for relation in _RELATIONS}
_FILTERS = _FLAGS | _NUMBERS | _TIMES.keys() | {"email"}
_NARROWING = {"updated_after", "updated_on", "updated_on_or_after"}

Filters = dict[str, Any]


def enrollments(call: Call, listings: Listings) -> Row:
    """`GET /enrollments`."""
    given = call.filters(_FILTERS)
    filters = {name: _read(name, text) for name, text in given.items()}

    def rows() -> Iterator[Row]:
        for row in _candidates(call.store, filters):
            learner = _listed(call.store, row)
            if learner is not None and all(_passes(call.store, row, learner, *each) for each in filters.items()):
                yield row

    def show(row_id: str) -> Row | None:
        row = call.store.get("enrollments", row_id)
        return None if row is None else _enrollment_json(call.store, row)

    return listings.page(call, ("enrollments", *sorted(given.items())), rows, show)


def enrollment(call: Call) -> Row:
    """`GET /enrollments/:id`."""
    row_id = call.store.row_id("enrollments", number_of(call))
    row = call.store.get("enrollments", row_id)
    if row is None or _listed(call.store, row) is None:
        raise not_found()
    return _enrollment_json(call.store, row)


def _read(name: str, text: str) -> Any:
    if name in _NUMBERS:
        return whole(name, text)
    if name in _FLAGS:
        return flag(name, text)
    if name not in _TIMES:
        return text.lower()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise unprocessable(name, "is not a valid ISO 8601 date") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _candidates(store: Store, filters: Filters) -> Iterable[Row]:
    """The rows that may pass, by the narrowest way to them."""
    if "user_id" in filters:
        learner_id = store.row_id("learners", filters["user_id"])
        return [] if learner_id is None else store.of_learner("enrollments", learner_id)
    if "course_id" in filters:
        course_id = store.row_id("courses", filters["course_id"])
        return [] if course_id is None else store.of_course("enrollments", course_id)
    since = [filters[name] for name in _NARROWING & filters.keys()]
    if since:
        return _updated_since(store, int(min(since).replace(hour=0, minute=0, second=0).timestamp()))
    return (row for _, row in store.rows("enrollments"))


def _updated_since(store: Store, since: int) -> Iterable[Row]:
    """The enrollments that changed or whose completion was changed by hand; generated ones changed together."""
    found = {row["id"]: row for row in store.updated_since("enrollments", since)}
    for completion in store.changed_rows("completions"):
        pair = completion["learner_id"], completion["course_id"]
        found |= {row["id"]: row for row in store.of_pair("enrollments", *pair)}
    return found.values()


def _listed(store: Store, row: Row) -> Row | None:
    """The enrollment's learner; None when Thinkific has no such enrollment."""
    return None if row["status"] == "withdrawn" or row["course_id"] is None else user_of(store, row["learner_id"])


def _passes(store: Store, row: Row, learner: Row, name: str, wanted: Any) -> bool:
    if name in _TIMES:
        what, relation = _TIMES[name]
        text = row["enrolled_at"] if what == "created" else _updated_at(row, _completion(store, row))
        return bool(text) and _RELATIONS[relation](datetime.fromisoformat(text), wanted)
    match name:
        case "user_id":
            return bool(integer_id(row["learner_id"]) == wanted)
        case "course_id":
            return bool(integer_id(row["course_id"]) == wanted)
        case "email":
            return bool((learner["email"] or "").lower() == wanted)
        case "completed":
            return (row["status"] == "completed") is wanted
        case "expired":
            return _is_expired(row) is wanted
        case "free_trial":
            return _is_trial(row) is wanted
    return _is_trial(row) is not wanted


def _is_expired(row: Row) -> bool:
    return row["status"] in {"suspended", "expired"}


def _is_trial(row: Row) -> bool:
    return bool(row["status"] == "pending_payment")


def _completion(store: Store, row: Row) -> Row:
    return next(store.of_pair("completions", row["learner_id"], row["course_id"]), None) or {}


def _updated_at(row: Row, completion: Row) -> str:
    """Progress makes an enrollment newer; times of one form compare as text."""
    return max(str(row["updated_at"]), str(completion.get("updated_at", "")))


def _enrollment_json(store: Store, row: Row) -> Row:
    learner = store.get("learners", row["learner_id"]) or {}
    course = store.get("courses", row["course_id"])
    completion = _completion(store, row)
    completed = completion.get("state") == "completed"
    share = 1.0 if completed else min(float(completion.get("progress_pct") or 0), 99.0) / 100
    activated_at = None if row["status"] in {"invited", "pending_payment"} else row["enrolled_at"]
    expiry_date = row["updated_at"] if row["status"] == "suspended" else row["ends_at"]
    return {
        "id": integer_id(row["id"]),
        "user_email": learner["email"],
        "user_name": full_name(learner),
        "user_id": integer_id(learner["id"]),
        "course_id": integer_id(row["course_id"]),
        "course_name": None if course is None else course["title"],
        "percentage_completed": str(share),
        "completed": completed,
        "started_at": with_fraction(row["starts_at"] or row["enrolled_at"]) if share else None,
        "activated_at": with_fraction(activated_at),
        "completed_at": with_fraction(completion.get("completed_at")) if completed else None,
        "updated_at": with_fraction(_updated_at(row, completion)),
        "expiry_date": with_fraction(expiry_date),
        "expired": _is_expired(row),
        "is_free_trial": _is_trial(row),
        "credits": None,
    }
