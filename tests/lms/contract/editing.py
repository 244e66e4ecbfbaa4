"""People who edit a school while it is read: random creations, changes and deletions, each possible at its moment.

No key that is gone comes back, so that a row was there all the while if it was there before and is there after.
"""

import random
from collections.abc import Callable, Collection
from typing import Any

from lms_crm_assets.sandbox.core import Simulator


class Editor:
    """Makes one edit at a time, each kind as often as its weight in `_edits` says."""

    _edits: dict[Callable[[], None], float]

    def __init__(self, simulator: Simulator, chance: random.Random) -> None:
        self._simulator, self._chance = simulator, chance
        self._number = 0

    def edit(self) -> str:
        """One of them."""
        self._number += 1
        [made] = self._chance.choices(list(self._edits), list(self._edits.values()))
        made()
        return made.__name__.strip("_")

    def _rows(self, kind: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self._simulator.records(kind)]


class SchoolEditor(Editor):
    """Edits a generated school by its entities."""

    def __init__(self, simulator: Simulator, chance: random.Random) -> None:
        super().__init__(simulator, chance)
        self._edits = {
            self._rename_learner: 4,
            self._enter_learner: 3,
            self._delete_learner: 2,
            self._enroll: 4,
            self._change_enrollment: 4,
            self._delete_enrollment: 3,
            self._progress: 4,
            self._grade: 3,
            self._regrade: 3,
            self._ungrade: 1,
            self._retitle: 1,
            self._add_course: 1,
            self._delete_course: 0.3,
        }

    def _some(self, kind: str) -> dict[str, Any] | None:
        rows = self._rows(kind)
        return self._chance.choice(rows) if rows else None

    def _mutate(self, kind: str, op: str, row: dict[str, Any] | None = None, **fields: Any) -> None:
        change = {"object": kind, "op": op, "fields": fields}
        self._simulator.mutate(change if row is None else {**change, "id": row["id"]})

    def _update(self, kind: str, **fields: Any) -> None:
        if (row := self._some(kind)) is not None:
            self._mutate(kind, "update", row, **fields)

    def _delete(self, kind: str) -> None:
        if (row := self._some(kind)) is not None:
            self._mutate(kind, "delete", row)

    def _rename_learner(self) -> None:
        self._update("learners", given_name=f"Renamed {self._number}")

    def _enter_learner(self) -> None:
        name = f"new.{self._number}"
        fields = {"given_name": "New", "family_name": f"Learner {self._number}", "organization": "Somewhere"}
        self._mutate("learners", "create", None, username=name, email=f"{name}@school.test", **fields)

    def _delete_learner(self) -> None:
        # A few: with most of them gone a pull would rightly not be believed.
        if len(self._rows("learners")) > 15:
            self._delete("learners")

    def _enroll(self) -> None:
        learner, course = self._some("learners"), self._some("courses")
        if learner is None or course is None:
            return
        pair = {"learner_id": learner["id"], "course_id": course["id"]}
        if any(pair.items() <= row.items() for row in self._rows("enrollments")):
            return
        dates = {"enrolled_at": "2026-02-01T08:00:00Z", "starts_at": "2026-02-01T08:00:00Z"}
        self._mutate("enrollments", "create", None, **pair, **dates)
        if not any(pair.items() <= row.items() for row in self._rows("completions")):
            self._mutate("completions", "create", None, **pair)

    def _change_enrollment(self) -> None:
        row = self._some("enrollments")
        # Who has withdrawn doesn't come back.
        if row is not None and row["status"] != "withdrawn":
            status = self._chance.choice(["active", "suspended", "expired", "completed", "invited"])
            self._mutate("enrollments", "update", row, status=status)

    def _delete_enrollment(self) -> None:
        if len(self._rows("enrollments")) > 25:
            self._delete("enrollments")

    def _progress(self) -> None:
        self._update("completions", state="in_progress", progress_pct=self._chance.randrange(1, 99))

    def _grade(self) -> None:
        learner, course = self._some("learners"), self._some("courses")
        if learner is None or course is None:
            return
        pair = {"learner_id": learner["id"], "course_id": course["id"], "item_id": "course-total"}
        if not any(pair.items() <= row.items() for row in self._rows("scores")):
            self._mutate("scores", "create", None, **pair, raw=50.0, graded_at="2026-02-02T08:00:00Z")

    def _regrade(self) -> None:
        self._update("scores", raw=self._chance.randrange(100) + 0.5)

    def _ungrade(self) -> None:
        self._delete("scores")

    def _retitle(self) -> None:
        self._update("courses", title=f"Retitled {self._number}")

    def _add_course(self) -> None:
        self._mutate("courses", "create", None, code=f"N-{self._number}", title=f"New course {self._number}")

    def _delete_course(self) -> None:
        if len(self._rows("courses")) > 2:
            self._delete("courses")


class MoodleEditor(Editor):
    """Edits a site's accounts, courses, enrolments and ratings."""

    def __init__(self, simulator: Simulator, chance: random.Random) -> None:
        super().__init__(simulator, chance)
        self._gone: set[tuple[int, int]] = set()
        self._edits = {
            self._rename_user: 4,
            self._enter_user: 3,
            self._delete_user: 2,
            self._enrol: 4,
            self._change_enrolment: 8,
            self._unenrol: 3,
            self._rate: 2,
            self._retitle: 1,
            self._add_course: 1,
            self._delete_course: 0.3,
        }

    def _people(self) -> list[dict[str, Any]]:
        # The first four are the accounts of every site.
        return [row for row in self._rows("users") if not row["deleted"] and row["id"] > 4]

    def _choice(self, rows: Collection[dict[str, Any]]) -> dict[str, Any]:
        return self._chance.choice(list(rows))

    def _mutate(self, kind: str, op: str, key: object, **fields: Any) -> None:
        named = {} if key is None else {"key": key}
        self._simulator.mutate({"object": kind, "op": op, "fields": fields, **named})

    def _rename_user(self) -> None:
        self._mutate("users", "update", self._choice(self._people())["id"], firstname=f"Renamed {self._number}")

    def _enter_user(self) -> None:
        name = f"new.{self._number}"
        names = {"firstname": "New", "lastname": f"Learner {self._number}"}
        self._mutate("users", "create", None, username=name, email=f"{name}@school.test", **names)

    def _delete_user(self) -> None:
        if len(self._people()) > 15:
            user = self._choice(self._people())["id"]
            self._gone |= {(user, row["courseid"]) for row in self._rows("enrolments") if row["userid"] == user}
            self._mutate("users", "delete", user)

    def _enrol(self) -> None:
        user = self._choice(self._people())["id"]
        course = self._choice([row for row in self._rows("courses") if row["id"] > 1])["id"]
        there = {(row["userid"], row["courseid"]) for row in self._rows("enrolments")}
        if (user, course) not in there | self._gone:
            self._mutate("enrolments", "create", None, userid=user, courseid=course)

    def _enrolment(self) -> str:
        row = self._choice(self._rows("enrolments"))
        return f"{row['userid']}:{row['courseid']}"

    def _change_enrolment(self) -> None:
        fields = self._chance.choice(
            [
                {"Status": "Suspended"},
                {"Status": "Active"},
                {"Grade": f"{self._chance.randrange(100)}.50"},
                {"Completed": "Yes", "Student progress": "100.0%"},
                {"Student progress": f"{self._chance.randrange(99)}.0%"},
            ]
        )
        self._mutate("enrolments", "update", self._enrolment(), **fields)

    def _unenrol(self) -> None:
        if len(self._rows("enrolments")) > 25:
            key = self._enrolment()
            user, _, course = key.partition(":")
            self._gone.add((int(user), int(course)))
            self._mutate("enrolments", "delete", key)

    def _rate(self) -> None:
        rows = self._rows("competencies")
        if rows:
            row = self._choice(rows)
            rating = self._chance.choice(["Competent", "Not yet competent"])
            self._mutate("competencies", "update", f"{row['userid']}:{row['competency_idnumber']}", rating=rating)

    def _retitle(self) -> None:
        course = self._choice([row for row in self._rows("courses") if row["id"] > 1])["id"]
        self._mutate("courses", "update", course, fullname=f"Retitled {self._number}")

    def _add_course(self) -> None:
        name = f"NEW-{self._number}"
        self._mutate("courses", "create", None, shortname=name, fullname=f"{name} course", idnumber=name)

    def _delete_course(self) -> None:
        # The simulator makes new courses from its first one.
        courses = [row["id"] for row in self._rows("courses") if row["id"] > 2]
        if len(courses) > 1:
            self._mutate("courses", "delete", self._chance.choice(courses))
