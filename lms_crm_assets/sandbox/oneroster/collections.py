"""The collections of the two services over one school, each in the order of its sourcedIds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import methodcaller
from typing import Protocol

from lms_crm_assets.sandbox.oneroster.shapes import (
    CATEGORIES,
    COMPETENCIES,
    COURSE_TOTAL,
    SCHOOL_ORG,
    TERM,
    YEAR,
    Shapes,
    class_id,
    line_item_id,
    org_id,
    rated_in,
)
from lms_crm_assets.sandbox.school import names
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.roll import Roll
from lms_crm_assets.sandbox.school.store import Known, Store

_ITEMS = (*(f"activity-{number}" for number in range(1, 6)), COMPETENCIES, COURSE_TOTAL)

Make = Callable[[Shapes], Row]


class Collection(Protocol):
    """Objects of one kind."""

    def count(self) -> int:
        """How many there are."""

    def ids(self, offset: int) -> Iterator[str]:
        """The sourcedIds from a place on, in their order."""

    def since(self, moment: int) -> Iterator[str]:
        """At least the sourcedIds of what was modified in that second or later, in any order."""

    def get(self, sourced_id: str, shapes: Shapes) -> Row | None:
        """One object."""


class Rows:
    """The rows of one entity, one object each; a sourcedId is the row's id behind a prefix."""

    def __init__(self, store: Store, entity: str, shape: Callable[[Shapes, str, Known], Row], prefix: str = "") -> None:
        """Look at nothing yet."""
        self._store, self._entity, self._shape, self._prefix = store, entity, shape, prefix
        self._roll = Roll(store, entity)

    def count(self) -> int:
        """See `Collection`."""
        return self._roll.count()

    def ids(self, offset: int) -> Iterator[str]:
        """See `Collection`."""
        return (self._prefix + row_id for row_id in self._roll.ids(offset))

    def since(self, moment: int) -> Iterator[str]:
        """See `Collection`."""
        return (self._prefix + row_id for row_id in self._roll.since(moment))

    def get(self, sourced_id: str, shapes: Shapes) -> Row | None:
        """See `Collection`."""
        own = sourced_id.startswith(self._prefix)
        known = self._store.known(self._entity, sourced_id.removeprefix(self._prefix)) if own else None
        return None if known is None else self._shape(shapes, sourced_id, known)


class Chained:
    """Two collections, the sourcedIds of the first all before those of the second."""

    def __init__(self, first: Collection, second: Collection) -> None:
        """Take both as they are."""
        self._first, self._second = first, second

    def count(self) -> int:
        """See `Collection`."""
        return self._first.count() + self._second.count()

    def ids(self, offset: int) -> Iterator[str]:
        """See `Collection`."""
        first = self._first.count()
        if offset < first:
            yield from self._first.ids(offset)
        yield from self._second.ids(max(0, offset - first))

    def since(self, moment: int) -> Iterator[str]:
        """See `Collection`."""
        yield from self._first.since(moment)
        yield from self._second.since(moment)

    def get(self, sourced_id: str, shapes: Shapes) -> Row | None:
        """See `Collection`."""
        return self._first.get(sourced_id, shapes) or self._second.get(sourced_id, shapes)


class Few:
    """So few objects that all are found anew for each state of the store."""

    def __init__(self, store: Store, find: Callable[[], Mapping[str, Make]]) -> None:
        """`find` gives what makes each object, by sourcedId."""
        self._store, self._find = store, find
        self._version, self._found = -1, dict[str, Make]()

    def count(self) -> int:
        """See `Collection`."""
        return len(self._all())

    def ids(self, offset: int) -> Iterator[str]:
        """See `Collection`."""
        return islice(self._all(), offset, None)

    def since(self, moment: int) -> Iterator[str]:
        """See `Collection`; all, as there are few."""
        del moment
        return self.ids(0)

    def get(self, sourced_id: str, shapes: Shapes) -> Row | None:
        """See `Collection`."""
        make = self._all().get(sourced_id)
        return make and make(shapes)

    def _all(self) -> Mapping[str, Make]:
        if self._version != self._store.version:
            self._version, self._found = self._store.version, dict(sorted(self._find().items()))
        return self._found


@dataclass(frozen=True, slots=True)
class Service:
    """One path of a service: what it lists, the name of an object and of a listing, and who may read it."""

    collection: Collection
    kind: str
    plural: str


def rostering(store: Store) -> dict[str, Service]:
    """The collections of the rostering service by their paths."""
    users = Service(Rows(store, "learners", Shapes.user), "user", "users")
    return {
        "orgs": Service(Few(store, lambda: _orgs(store)), "org", "orgs"),
        "users": users,
        "students": users,
        # Who teaches is said by the enrollments alone.
        "teachers": Service(Few(store, dict), "user", "users"),
        "courses": Service(Rows(store, "courses", Shapes.course), "course", "courses"),
        "classes": Service(Few(store, lambda: _classes(store)), "class", "classes"),
        "enrollments": Service(Rows(store, "enrollments", Shapes.enrollment), "enrollment", "enrollments"),
        "academicSessions": Service(Few(store, _sessions), "academicSession", "academicSessions"),
    }


def gradebook(store: Store) -> dict[str, Service]:
    """The collections of the gradebook service by their paths."""
    ratings = Rows(store, "competencies", Shapes.rating, "competency-")
    results = Chained(ratings, Rows(store, "scores", Shapes.score, "score-"))
    return {
        "categories": Service(Few(store, _categories), "category", "categories"),
        "lineItems": Service(Few(store, lambda: _line_items(store)), "lineItem", "lineItems"),
        "results": Service(results, "result", "results"),
        # Points from 0 to 100 need no scale.
        "scoreScales": Service(Few(store, dict), "scoreScale", "scoreScales"),
    }


def _orgs(store: Store) -> dict[str, Make]:
    employers = {name for name, _ in names.ORGANIZATIONS}
    changed = (known.data or known.last for known in store.changed("learners").values())
    employers |= {row["organization"] for row in changed if row and row["organization"]}
    orgs = {org_id(name): name for name in employers} | {SCHOOL_ORG: "Sandbox school"}
    return {sourced_id: methodcaller("org", sourced_id, name) for sourced_id, name in orgs.items()}


def _sessions() -> dict[str, Make]:
    return {sourced_id: methodcaller("session", sourced_id) for sourced_id in (TERM, YEAR)}


def _categories() -> dict[str, Make]:
    return {sourced_id: methodcaller("category", sourced_id) for sourced_id in CATEGORIES}


def _classes(store: Store) -> dict[str, Make]:
    courses = [(course_id, store.known("courses", course_id)) for course_id in Roll(store, "courses").ids(0)]
    return {class_id(course): methodcaller("class_", class_id(course), course, known) for course, known in courses}


def _line_items(store: Store) -> dict[str, Make]:
    """Those that each course has, and those that only a changed result names."""
    pairs = [(course_id, item_id) for course_id in Roll(store, "courses").ids(0) for item_id in _ITEMS]
    scores = (known.data or known.last for known in store.changed("scores").values())
    pairs += [(str(row["course_id"]), row["item_id"]) for row in scores if row]
    ratings = (known.data or known.last for known in store.changed("competencies").values())
    pairs += [(rated_in(row), COMPETENCIES) for row in ratings if row]
    return {
        line_item_id(*pair): methodcaller("line_item", line_item_id(*pair), *pair, store.known("courses", pair[0]))
        for pair in pairs
    }
