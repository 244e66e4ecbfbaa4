"""Where each row of a generated school stands: its number, its rank, its time, without a table of any of them."""

import hashlib
import heapq
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from math import ceil
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[int, str, str, int]
"""`updated_at` in epoch seconds, entity, id, number: the order of the changes."""

DAY = 86_400
SPAN_DAYS = 300
PARTS = 10_000
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
PREFIXES = {
    "learners": "lrn",
    "courses": "crs",
    "enrollments": "enr",
    "completions": "cmp",
    "scores": "scr",
    "competencies": "rtg",
}
ENTITIES = list(PREFIXES)

# Where each band of ranks ends; it begins where the one before ends.
LEARNER_ENDS = {"tombstone": 50, "no_email": 150, "malformed": 180, "deleted": 210, "shared": 230, "good": PARTS}
STATUS_ENDS = {
    "tombstone": 50,
    "pending_payment": 70,
    "unknown_course": 90,
    "invited": 590,
    "suspended": 890,
    "expired": 1090,
    "withdrawn": 1490,
    "active": 5500,
    "completed": PARTS,
}
BANDS = {
    "completion": (590, PARTS),
    "early": (5500, 5530),
    "course_score": (5500, PARTS),
    "html": (5530, 5585),
    "above": (5585, 5602),
    "activity_score": (6000, 7000),
    "rating": (8000, PARTS),
    "rating_alone": (8000, 8200),
}


def epoch(text: str) -> int:
    """The first whole second that is not before an RFC 3339 time; `ValueError` for anything else."""
    if not _RFC_3339.fullmatch(text):
        raise ValueError(f"{text!r} is no RFC 3339 time with an offset, like 2026-01-05T00:00:00Z")
    return ceil(datetime.fromisoformat(text).timestamp())


@cache
def _day_text(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%dT")


@cache
def _clock_text(second_of_day: int) -> str:
    minutes, second = divmod(second_of_day, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}Z"


def time_text(seconds: int) -> str:
    """RFC 3339 in UTC to the second; several times as fast as `strftime`."""
    return _day_text(seconds // DAY) + _clock_text(seconds % DAY)


class Shuffle:
    """A seeded one-to-one mapping of 0 … n-1 onto itself, both ways, without a table.

    Multiplication and xor-shift on the next power of two, walked until the result is below n.
    """

    def __init__(self, n: int, *, seed: int, name: str) -> None:
        """Take the constants from a hash of seed and name."""
        bits = max(2, (n - 1).bit_length())
        self._n = n
        self._mask = (1 << bits) - 1
        self._shift = (bits + 1) // 2
        digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=24).digest()
        self._add, first, second = struct.unpack("<3Q", digest)
        self._factors = (first | 1) & self._mask, (second | 1) & self._mask
        self._inverses = pow(self._factors[0], -1, self._mask + 1), pow(self._factors[1], -1, self._mask + 1)

    def at(self, number: int) -> int:
        """The place of a number."""
        mask, shift, (first, second) = self._mask, self._shift, self._factors
        while True:
            number = ((number + self._add) * first) & mask
            number ^= number >> shift
            number = (number * second) & mask
            number ^= number >> shift
            if number < self._n:
                return number

    def number(self, place: int) -> int:
        """The number at a place."""
        mask, shift, (first, second) = self._mask, self._shift, self._inverses
        while True:
            place ^= place >> shift
            place = (place * second) & mask
            place ^= place >> shift
            place = (place * first - self._add) & mask
            if place < self._n:
                return place


@dataclass(frozen=True)
class Size:
    """What a school is made from."""

    learners: int = 1000
    courses: int = 12
    enrollments: int = 1800
    seed: int = 7
    start: str = "2026-01-05T00:00:00Z"


class Layout:
    """The places of all rows; `ValueError` when the school can't hold that many enrollments."""

    def __init__(self, size: Size) -> None:
        """Prepare the shuffles and the bounds of the bands."""
        self.size = size
        self._seed = str(size.seed).encode()
        self.start = epoch(size.start)
        self._learner_cuts = [_cut(end, size.learners) for end in LEARNER_ENDS.values()]
        self._status_cuts = [_cut(end, size.enrollments) for end in STATUS_ENDS.values()]
        self._bands = {
            name: range(_cut(first, size.enrollments), _cut(end, size.enrollments))
            for name, (first, end) in BANDS.items()
        }
        seats = (size.learners - self._learner_cuts[0]) * size.courses
        if min(size.learners, size.courses, size.enrollments) < 1 or size.enrollments > seats:
            raise ValueError(f"{size} can't be: there must be some of each and at most {seats} enrollments")
        self._learner_order = self._shuffle(size.learners, "learner order")
        self._enrollment_order = self._shuffle(size.enrollments, "enrollment order")
        self._seats = self._shuffle(seats, "seats")
        # A course is walked once for all pages of its listing; many courses at once are rare.
        self.numbers_in_course = lru_cache(maxsize=32)(self._numbers_in_course)
        self._times = {
            entity: (count, self._shuffle(count, f"{entity} times"))
            for entity, count in (
                ("learners", size.learners),
                ("courses", size.courses),
                ("enrollments", size.enrollments),
            )
        }

    @property
    def end(self) -> int:
        """The epoch second that no generated date passes."""
        return self.start + SPAN_DAYS * DAY

    def count(self, entity: str) -> int:
        """The rows of an entity without the tombstones."""
        bands, size = self._bands, self.size
        return {
            "learners": size.learners - self._learner_cuts[0],
            "courses": size.courses,
            "enrollments": size.enrollments - self._status_cuts[0],
            "completions": len(bands["completion"]),
            "scores": len(bands["course_score"]) + len(bands["activity_score"]),
            "competencies": len(bands["rating"]),
        }[entity]

    def numbers(self, entity: str) -> int:
        """How many numbers an entity's ids may use; not every one is used."""
        return {"learners": self.size.learners, "courses": self.size.courses}.get(entity, self.size.enrollments)

    def ids(self, entity: str, number: int) -> list[str]:
        """The ids under a number, tombstones too: none, one or, of scores, two."""
        one = [f"{PREFIXES[entity]}-{number + 1:07d}"]
        if entity in {"learners", "courses", "enrollments"}:
            return one
        place = self._enrollment_order.at(number)
        if entity == "scores":
            kinds = ("course_score", "activity_score")
            return [f"{one[0]}-{i}" for i, kind in enumerate(kinds, 1) if place in self._bands[kind]]
        return one if place in self._bands["completion" if entity == "completions" else "rating"] else []

    def number(self, entity: str, row_id: str) -> int | None:
        """The number in an id; `None` for an id that the school does not have."""
        digits = row_id[4:11]
        number = int(digits) - 1 if digits.isascii() and digits.isdigit() else -1
        known = 0 <= number < self.numbers(entity) and row_id in self.ids(entity, number)
        return number if known else None

    def numbers_of_learner(self, learner: int) -> list[int]:
        """The numbers of a learner's enrollments, and of what hangs on them, in their order."""
        courses = range(self.size.courses)
        return sorted(number for course in courses if (number := self.number_of_seat(learner, course)) is not None)

    def number_of_seat(self, learner: int, course: int) -> int | None:
        """The number of the enrollment of a learner in a course, if there is one."""
        row = self._learner_order.at(learner) - self._learner_cuts[0]
        return self._seated(row * self.size.courses + course) if row >= 0 else None

    def changes(self, since: int) -> Iterator[Key]:
        """The keys of all rows with an `updated_at` of `since` or later, in their order, tombstones too."""
        return heapq.merge(
            self._stream("learners", since, ("learners",)),
            self._stream("courses", since, ("courses",)),
            self._stream("enrollments", since, ("competencies", "completions", "enrollments", "scores")),
        )

    def changes_of(self, entity: str, since: int) -> Iterator[Key]:
        """The keys of `changes` that are of one entity."""
        return self._stream(entity if entity in self._times else "enrollments", since, (entity,))

    def updated(self, entity: str, number: int) -> int:
        """A row's `updated_at` in epoch seconds."""
        return self._moment(*(self._times.get(entity) or self._times["enrollments"]), number)

    def _numbers_in_course(self, course: int) -> list[int]:
        """The numbers of a course's enrollments, and of what hangs on them, in their order; walks all learners."""
        seats = (self.size.learners - self._learner_cuts[0]) * self.size.courses
        places = range(course, seats, self.size.courses)
        return sorted(number for place in places if (number := self._seated(place)) is not None)

    def _seated(self, place: int) -> int | None:
        number = self._seats.number(place)
        return number if number < self.size.enrollments else None

    def _shuffle(self, n: int, name: str) -> Shuffle:
        return Shuffle(n, seed=self.size.seed, name=name)

    def _moment(self, count: int, times: Shuffle, number: int) -> int:
        # Two days are left before the first change, for what has to be older than it.
        return self.start + 2 * DAY + times.at(number) * (SPAN_DAYS - 2) * DAY // count

    def _stream(self, timed: str, since: int, entities: tuple[str, ...]) -> Iterator[Key]:
        count, times = self._times[timed]
        first, span = self.start + 2 * DAY, (SPAN_DAYS - 2) * DAY
        place = max(0, -(-(since - first) * count // span))
        while place < count:
            moment = first + place * span // count
            same: list[Key] = []
            while place < count and first + place * span // count == moment:
                number = times.number(place)
                same += [(moment, entity, id_, number) for entity in entities for id_ in self.ids(entity, number)]
                place += 1
            yield from sorted(same)


def _cut(part: int, count: int) -> int:
    """The first place of a rank, of `count` places."""
    return -(-part * count // PARTS)
