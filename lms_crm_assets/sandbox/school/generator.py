"""A school of any size, computed from its seed: any row at any time, nothing stored.

A row's *rank* is the place of its number in a seeded shuffle of all numbers of its entity, in parts per 10,000; the
rank alone decides what a row is, so that the shares are exact (to one row) and never overlap. What each looks like in
the answers, so that an oracle can tell it from the data alone:

- learners, rank
  - 0-50 (0.5 %): a tombstone; in no listing, `delete` in the changes. It has no enrollments.
  - 50-150 (1 %): `email` is null.
  - 150-180 (0.3 %): `email` is malformed: without `@`, with a blank, with two `@` or without a domain.
  - 180-210 (0.3 %): deleted in the source as Moodle does it: `status` is `deleted`, `username` ends in `.<epoch>` after
    a whole address, `email` is an MD5 in hexadecimal.
  - 210-230 (0.2 %): has the `email` of another, good learner; exactly two share it.
  - else good: an address of its own (5 % with capitals), `status` `active` or, 4 %, `suspended`. 0.05 % each have a
    family name like `=cmd|…` or the longest names (40 and 80 characters); they are good too.
- enrollments, rank
  - 0-50 (0.5 %): a tombstone, without completion, scores and ratings.
  - 50-70 (0.2 %): `status` is `pending_payment`.
  - 70-90 (0.2 %): `course_id` begins with `crs-gone-` and is in no listing.
  - 90-590 invited, 590-890 suspended, 890-1090 expired, 1090-1490 withdrawn, 1490-5500 active, 5500-10000 completed.
- completions: one for each enrollment of rank 590 and more, under the same number.
  - 5500-5530 (0.3 %): `completed_at` is before the enrollment's `enrolled_at`.
- scores: a course score (`-1`) for each completed enrollment, and for rank 6000-7000 an activity score (`-2`).
  - 5530-5585 (1 % of the scores): the course score's `raw` is HTML: `<i class="icon fa fa-check"></i>71.80`.
  - 5585-5602 (0.3 % of the scores): the course score's `raw` is above `max`.
- competencies: a rating for rank 8000-10000; `course_id` is null for rank 8000-8200.
- extra attributes: `cohort` on 3 % of the learners, `x_custom` on 2 % of the enrollments.

Too few rows for a share give none of it: of 1,000 learners two share another's address, of 100 none.

An enrollment and what hangs on it have one `updated_at`. All dates lie between `start` and 300 days later, and an
enrollment is never newer than its completion, save for the share above. Ids are padded, so their order as text is the
order of their numbers.
"""

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from lms_crm_assets.sandbox.school import names
from lms_crm_assets.sandbox.school.layout import DAY, LEARNER_ENDS, STATUS_ENDS, Layout, Row, Size, time_text

_PASS_MARK = 60.0
_BEGUN_TENTHS = 7
_SHOWN_STATUS = {"unknown_course": "active", "tombstone": "active"}


class Enrolled(NamedTuple):
    """What an enrollment and all that hangs on it have in common."""

    place: int
    status: str
    learner_id: str
    course: int
    enrolled: int
    updated: int
    draws: tuple[int, ...]


class School(Layout):
    """The rows of one school."""

    def __init__(self, size: Size) -> None:
        """See `Layout`."""
        super().__init__(size)
        # An enrollment and what hangs on it are mostly asked for one after the other.
        self._enrolled = lru_cache(maxsize=8)(self._find_enrolled)

    def row(self, entity: str, row_id: str, number: int) -> Row | None:
        """The row; `None` for a tombstone."""
        return None if self.is_tombstone(entity, number) else self.last(entity, row_id, number)

    def is_tombstone(self, entity: str, number: int) -> bool:
        """Whether the row under this number was deleted."""
        if entity == "learners":
            return self._learner_order.at(number) < self._learner_cuts[0]
        return entity == "enrollments" and self._enrolled(number).status == "tombstone"

    def last(self, entity: str, row_id: str, number: int) -> Row:
        """The row, and of a tombstone what it was."""
        make: Callable[[str, int], Row] = {
            "learners": self._learner,
            "courses": self._course,
            "enrollments": self._enrollment,
            "completions": self._completion,
            "scores": self._score,
            "competencies": self._rating,
        }[entity]
        return make(row_id, number)

    def _draws(self, kind: bytes, number: int) -> tuple[int, ...]:
        digest = hashlib.blake2b(b"%s %d" % (kind, number), key=self._seed, digest_size=32).digest()
        return struct.unpack("<16H", digest)

    def _address(self, number: int) -> tuple[str, str, tuple[int, ...]]:
        draws = self._draws(b"learner", number)
        name = f"{names.HANDLES[draws[0] % len(names.HANDLES)]}.{number + 1}"
        return name, names.ORGANIZATIONS[draws[1] % len(names.ORGANIZATIONS)][1], draws

    def _learner(self, row_id: str, number: int) -> Row:
        place = self._learner_order.at(number)
        band = list(LEARNER_ENDS)[bisect_right(self._learner_cuts, place)]
        username, domain, draws = self._address(number)
        country, givens, families = names.PEOPLE[draws[2] % len(names.PEOPLE)]
        given, family = givens[draws[3] % len(givens)], families[draws[4] % len(families)]
        if draws[7] % 2000 == 0:
            family = names.FORMULA_FAMILIES[draws[8] % len(names.FORMULA_FAMILIES)]
        elif draws[7] % 2000 == 1:
            given, family = names.LONG_GIVEN, names.LONG_FAMILY
        moment = self.updated("learners", number)
        row: Row = {
            "id": row_id,
            "username": username,
            "email": f"{username}@{domain}",
            "given_name": given,
            "family_name": family,
            "organization": names.ORGANIZATIONS[draws[1] % len(names.ORGANIZATIONS)][0],
            "country": country,
            "status": "suspended" if draws[5] % 25 == 0 else "active",
            "updated_at": time_text(moment),
        }
        if draws[9] % 33 == 0:
            row["cohort"] = "ABC"[draws[10] % 3]
        if band in {"good", "tombstone"}:
            if draws[6] % 20 == 0:
                row["email"] = f"{username.capitalize()}@{domain.upper()}"
            return row
        return row | self._fault(band, place, username, domain, moment)

    def _fault(self, band: str, place: int, username: str, domain: str, moment: int) -> Row:
        """The attributes that make a good learner a bad one."""
        if band == "no_email":
            return {"email": None}
        if band == "malformed":
            forms = (f"{username}.{domain}", f"{username} x@{domain}", f"{username}@@{domain}", f"{username}@")
            return {"email": forms[place % len(forms)]}
        if band == "deleted":
            mangled = hashlib.md5(username.encode(), usedforsecurity=False).hexdigest()
            return {"username": f"{username}@{domain}.{moment}", "email": mangled, "status": "deleted"}
        # The places of the good ones begin where those of the sharing ones end.
        donor = self._learner_order.number(place - self._learner_cuts[3] + self._learner_cuts[4])
        return {"email": "{}@{}".format(*self._address(donor)[:2])}

    def _course(self, row_id: str, number: int) -> Row:
        draws = self._draws(b"course", number)
        starts = self.start + draws[0] % 60 * DAY
        bounded = draws[2] % 2 == 0
        return {
            "id": row_id,
            "code": f"C-{number + 1:04d}",
            "title": self._title(number),
            "visible": draws[1] % 10 != 0,
            "starts_at": time_text(starts),
            "ends_at": time_text(starts + 200 * DAY) if bounded else None,
            "updated_at": time_text(self.updated("courses", number)),
        }

    @staticmethod
    def _title(course: int) -> str:
        topic = names.TOPICS[course % len(names.TOPICS)]
        return f"{topic}: {names.LEVELS[course // len(names.TOPICS) % len(names.LEVELS)]} {course + 1}"

    def _find_enrolled(self, number: int) -> Enrolled:
        place = self._enrollment_order.at(number)
        seat, course = divmod(self._seats.at(number), self.size.courses)
        learner = self._learner_order.number(self._learner_cuts[0] + seat)
        updated = self.updated("enrollments", number)
        draws = self._draws(b"enrollment", number)
        # Within 120 days before the change, and a day or more after the start.
        back = (draws[0] * 65536 + draws[1]) % min(120 * DAY, updated - self.start - DAY)
        status = list(STATUS_ENDS)[bisect_right(self._status_cuts, place)]
        return Enrolled(place, status, f"lrn-{learner + 1:07d}", course, updated - back, updated, draws)

    def _enrollment(self, row_id: str, number: int) -> Row:
        found = self._enrolled(number)
        unknown = found.status == "unknown_course"
        ends = found.enrolled + (found.updated - found.enrolled) // 2 if found.status == "expired" else self.end
        row: Row = {
            "id": row_id,
            "learner_id": found.learner_id,
            "course_id": f"crs-gone-{found.course + 1:04d}" if unknown else f"crs-{found.course + 1:07d}",
            "role": "teacher" if found.draws[2] % 50 == 0 else "student",
            "status": _SHOWN_STATUS.get(found.status, found.status),
            "enrolled_at": time_text(found.enrolled),
            "starts_at": time_text(found.enrolled) if found.draws[3] % 4 else None,
            "ends_at": time_text(ends) if found.status == "expired" or found.draws[4] % 4 == 0 else None,
            "updated_at": time_text(found.updated),
        }
        if found.draws[5] % 50 == 0:
            row["x_custom"] = {"cost_center": f"CC-{found.draws[6] % 900 + 100}", "seats": found.draws[7] % 9 + 1}
        return row

    def _completed(self, found: Enrolled) -> int:
        if found.place in self._bands["early"]:
            return found.enrolled - 1 - found.draws[8] % DAY
        return found.enrolled + (found.draws[8] * 65536 + found.draws[9]) % (found.updated - found.enrolled + 1)

    def _completion(self, row_id: str, number: int) -> Row:
        found = self._enrolled(number)
        completed, begun = found.status == "completed", found.draws[10] % 10 < _BEGUN_TENTHS
        return {
            "id": row_id,
            "learner_id": found.learner_id,
            "course_id": f"crs-{found.course + 1:07d}",
            "state": "completed" if completed else "in_progress" if begun else "not_started",
            "progress_pct": 100 if completed else found.draws[11] % 99 + 1 if begun else 0,
            "completed_at": time_text(self._completed(found)) if completed else None,
            "updated_at": time_text(found.updated),
        }

    def _score(self, row_id: str, number: int) -> Row:
        found, whole_course = self._enrolled(number), row_id.endswith("-1")
        points = (5000 + found.draws[12] % 5001) / 100 if whole_course else found.draws[13] % 10001 / 100
        raw: float | str = points
        if whole_course and found.place in self._bands["html"]:
            raw = f'<i class="icon fa fa-check"></i>{points:.2f}'
        elif whole_course and found.place in self._bands["above"]:
            raw = round(points + 60, 2)
        return {
            "id": row_id,
            "learner_id": found.learner_id,
            "course_id": f"crs-{found.course + 1:07d}",
            "item_id": "course-total" if whole_course else f"activity-{found.draws[14] % 5 + 1}",
            "item_type": "course" if whole_course else "activity",
            "raw": raw,
            "min": 0,
            "max": 100,
            "passed": points >= _PASS_MARK if whole_course else None,
            "graded_at": time_text(max(self._completed(found), found.enrolled)),
            "updated_at": time_text(found.updated),
        }

    def _rating(self, row_id: str, number: int) -> Row:
        found = self._enrolled(number)
        proficient = found.draws[15] % 6 != 0
        alone = found.place in self._bands["rating_alone"]
        title = self._title(found.course)
        return {
            "id": row_id,
            "learner_id": found.learner_id,
            "course_id": None if alone else f"crs-{found.course + 1:07d}",
            "competency": {"code": f"CMP-{found.course + 1:04d}", "name": title, "framework": names.FRAMEWORK},
            "rating": "Competent" if proficient else "Not yet competent",
            "proficient": proficient,
            "rated_at": time_text(self._completed(found)),
            "updated_at": time_text(found.updated),
        }
