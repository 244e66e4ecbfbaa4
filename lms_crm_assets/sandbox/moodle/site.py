"""The state of the simulated Moodle: the recorded 4.5.6 site or a generated school, and what `mutate` makes of it.

Tables, each a dictionary of rows:

- `users` by id: a row of `users_all_by_email_wildcard`, plus `timecreated`, `timemodified` (epoch seconds) and `deleted`.
- `courses` by id: a row of `courses` with the names unescaped, plus `idnumber`, `visible`, `sortorder`,
  `timemodified` and `imageid`.
- `enrolments` by `user:course`: a row of the participants report under its column names, with `userid` and
  `courseid`; its four times are epoch seconds, 0 for none.
- `ratings` by `user:competency_idnumber`: a row of the competencies report.
- `filters` by `account:report`: the report builder filters that an account has set.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.sandbox.moodle.generated import school_contents
from lms_crm_assets.sandbox.moodle.recorded import (
    PARTICIPANTS,
    PERSON_COLUMNS,
    RATING_FIELDS,
    TIME_COLUMNS,
    grade_number,
    mangled,
    rating_key,
    recorded_contents,
    recorded_courses,
    recorded_users,
    report_columns,
    time_epoch,
    time_text,
)
from lms_crm_assets.sandbox.moodle.tables import Row, Table
from lms_crm_assets.sandbox.school.layout import Size


class Site:
    """The tables, and the changes a person makes in the user interface."""

    def __init__(self, school: Size | None = None) -> None:
        """Fill the tables with a school, or with the recorded site."""
        contents = recorded_contents() if school is None else school_contents(school)
        self.school = school
        self._now = contents.until
        self.users = Table(contents.users)
        self.courses = Table(contents.courses)
        self._last_course = max(self.courses)
        self.enrolments = Table(contents.enrolments, by=("userid", "courseid"))
        self.ratings = Table(contents.ratings, by=("userid",))
        self.activities, self.frameworks = contents.activities, contents.frameworks
        self.competencies = contents.competencies
        self.filters: dict[str, Row] = {}
        self.version = 0
        """How often it was changed since it was filled."""
        self.found_lines: dict[Any, list[Row]] = {}
        """The lines of reports that were found, see `reports`."""

    def dump(self) -> Row:
        """What it was filled with and the rows changed since, as JSON-able data."""
        tables = {name: table.changes() for name, table in self._tables().items()}
        school = asdict(self.school) if self.school else None
        kept = {"filters": dict(self.filters), "now": self._now, "last_course": self._last_course}
        return {"school": school, "changed": tables, **kept}

    @classmethod
    def loaded(cls, state: Row) -> "Site":
        """What `dump` gave; of a site in which nothing was changed, `school` alone will do."""
        site = cls(Size(**state["school"]) if state["school"] else None)
        changed = state.get("changed", {})
        for name, table in site._tables().items():
            for key, row in changed.get(name, []):
                if row is not None:
                    table[key] = row
                elif key in table:
                    table.remove(key)
        site.filters, site._now = dict(state.get("filters", {})), state.get("now", site._now)
        site._last_course = state.get("last_course", site._last_course)
        return site

    def _tables(self) -> dict[str, Table[Any]]:
        return {
            "users": self.users,
            "courses": self.courses,
            "enrolments": self.enrolments,
            "ratings": self.ratings,
        }

    def mutate(self, change: Mapping[str, Any]) -> Row:
        """Apply one change and give back the record as `records` shows it; `SandboxRequestError` if it can't be.

        `create`, `update` and `delete` of `users`, `enrolments`, `competencies` (ratings) and `courses`; the record is
        named by `id` (users, courses) or `key` (`user:course`, `user:competency_idnumber`).
        """
        kind, op, fields = change.get("object"), change.get("op"), dict(change.get("fields", {}))
        actions: dict[tuple[Any, Any], Callable[..., Row]] = {
            ("users", "create"): self._create_user,
            ("users", "update"): self._update_user,
            ("users", "delete"): self._delete_user,
            ("courses", "create"): self._create_course,
            ("courses", "update"): self._update_course,
            ("courses", "delete"): self._delete_course,
            ("enrolments", "create"): self._create_enrolment,
            ("enrolments", "update"): self._update_enrolment,
            ("enrolments", "delete"): lambda key: self._enrolment_record(self.enrolments.remove(key)),
            ("competencies", "create"): self._create_rating,
            ("competencies", "update"): self._update_rating,
            ("competencies", "delete"): lambda key: self._rating_record(self.ratings.remove(key)),
        }
        if (kind, op) not in actions:
            raise SandboxRequestError(f"{op!r} of {kind!r} is not supported")
        if unknown := fields.keys() - _fields(str(kind)):
            raise SandboxRequestError(f"{kind} have no {sorted(unknown)}")
        key = change.get("key", change.get("id"))
        self.version += 1
        try:
            if op == "create":
                return actions[kind, op](fields)
            if kind in {"users", "courses"}:
                key = int(str(key))
            return actions[kind, op](key, fields) if op == "update" else actions[kind, op](key)
        except (KeyError, ValueError) as exc:
            raise SandboxRequestError(f"{kind}: {exc} does not exist, is not given or makes no sense") from exc

    def records(self, kind: str) -> Iterable[Row]:
        """Every stored record.

        `users`: with `deleted`, the deleted ones too. `courses`: the front page (id 1) too. `enrolments`: the rows of
        the participants report that have a person, 456 at first, with `userid` and `courseid`; the report itself
        holds ten more, one a course for each of two enrolment methods without people. `competencies`: the rows of
        the competencies report under `RATING_FIELDS`.
        """
        # Of the rows as they are now, one by one: half a million need no second copy.
        match kind:
            case "users":
                return map(dict, list(self.users.values()))
            case "courses":
                return map(dict, list(self.courses.values()))
            case "enrolments":
                return map(self._enrolment_record, list(self.enrolments.values()))
            case "competencies":
                return map(self._rating_record, list(self.ratings.values()))
        raise SandboxRequestError(f"there is no {kind!r}")

    def _tick(self) -> int:
        self._now = max(int(time.time()), self._now + 1)
        return self._now

    def _create_user(self, fields: Row) -> Row:
        now = self._tick()
        names = {"username": fields["username"], "email": fields["email"]}
        names |= {"fullname": f"{fields['firstname']} {fields['lastname']}"}
        user_id = max(self.users) + 1
        times = {"timecreated": now, "timemodified": now}
        template = {name: value for name, value in recorded_users()[2].items() if name not in {"firstname", "lastname"}}
        self.users[user_id] = {**template, "id": user_id, **names, **times, **fields}
        return dict(self.users[user_id])

    def _update_user(self, user_id: int, fields: Row) -> Row:
        row = {**self._living(user_id), "timemodified": self._tick(), **fields}
        if fields.keys() & {"firstname", "lastname"}:
            row["fullname"] = f"{row['firstname']} {row['lastname']}"
        self.users[user_id] = {name: value for name, value in row.items() if value is not None}
        return dict(self.users[user_id])

    def _delete_user(self, user_id: int) -> Row:
        """As `delete_user` of Moodle does it: mangled, not removed."""
        now, row = self._tick(), self._living(user_id)
        kept = {name: value for name, value in row.items() if name != "idnumber"}
        self.users[user_id] = {**kept, **mangled(row, now), "deleted": True, "timemodified": now}
        self.enrolments.remove_where("userid", user_id)
        self.ratings.remove_where("userid", user_id)
        return dict(self.users[user_id])

    def _living(self, user_id: int) -> Row:
        if self.users[user_id]["deleted"]:
            raise KeyError(user_id)
        return self.users[user_id]

    def _create_course(self, fields: Row) -> Row:
        # An id that is gone does not come back.
        course_id = self._last_course = max(self._last_course, *self.courses) + 1
        now = self._tick()
        # Moodle puts a new course first in its category.
        sortorder = min(row["sortorder"] for row in self.courses.values() if row["id"] != 1) - 1
        row = {
            **self.courses[2],
            "id": course_id,
            "shortname": fields["shortname"],
            "displayname": fields["fullname"],
            "idnumber": "",
            "sortorder": sortorder,
            "startdate": now,
            "timemodified": now,
            "imageid": 208 + 3 * course_id,
            **fields,
        }
        self.courses[course_id] = row
        return dict(row)

    def _update_course(self, course_id: int, fields: Row) -> Row:
        renamed = {"displayname": fields["fullname"]} if "fullname" in fields else {}
        self.courses[course_id] = {**self.courses[course_id], "timemodified": self._tick(), **renamed, **fields}
        return dict(self.courses[course_id])

    def _delete_course(self, course_id: int) -> Row:
        row = self.courses.remove(course_id)
        self.enrolments.remove_where("courseid", course_id)
        return row

    def _create_enrolment(self, fields: Row) -> Row:
        user, course = self._living(fields["userid"]), self.courses[fields["courseid"]]
        blank = dict.fromkeys(report_columns(PARTICIPANTS), "") | {
            "Plugin": "Manual enrolments",
            "Method": "Manual enrolments",
            "Status": "Active",
            "Time created": self._tick(),
            "Role": "Student",
            "Student progress": "0.0%",
        }
        key = f"{user['id']}:{course['id']}"
        if key in self.enrolments:
            raise SandboxRequestError(f"enrolments: {key} is there already")
        return self._store_enrolment(key, {"userid": user["id"], "courseid": course["id"], **blank, **fields})

    def _update_enrolment(self, key: str, fields: Row) -> Row:
        return self._store_enrolment(key, {**self.enrolments[key], **fields})

    def _store_enrolment(self, key: str, row: Row) -> Row:
        if row["Completed"] == "Yes" and not row["Time completed"]:
            row["Time completed"] = self._tick()
        float(row["Student progress"].rstrip("%") or 0)
        grade_number(row["Grade"] or "0")
        row.update({name: time_epoch(row[name]) for name in TIME_COLUMNS})
        self.enrolments[key] = row
        return self._enrolment_record(row)

    def _enrolment_record(self, row: Row) -> Row:
        user, course = self.users[row["userid"]], self.courses[row["courseid"]]
        person = zip(PERSON_COLUMNS, (user.get("idnumber", ""), user["username"], user["email"]), strict=True)
        times = {name: time_text(row[name]) for name in TIME_COLUMNS}
        return {**row, **dict(person), "Course ID number": course["idnumber"], **times}

    def _create_rating(self, fields: Row) -> Row:
        user = self._living(fields["userid"])
        competencies = {row["idnumber"]: row["shortname"] for row in self.competencies}
        row = {
            "userid": user["id"],
            "framework_idnumber": self.frameworks[0]["idnumber"],
            "name": competencies[fields["competency_idnumber"]],
            "status": "Idle",
            "proficient": "",
            "rating": "",
            **fields,
        }
        self.ratings[rating_key(row)] = row
        return self._rating_record(row)

    def _update_rating(self, key: str, fields: Row) -> Row:
        self.ratings[key] = {**self.ratings[key], **fields}
        return self._rating_record(self.ratings[key])

    def _rating_record(self, row: Row) -> Row:
        return {**row, "username": self.users[row["userid"]]["username"]}


def _fields(kind: str) -> set[str]:
    """The fields that `mutate` may set."""
    if kind == "users":
        return {name for row in recorded_users().values() for name in row} - {"id", "deleted"}
    if kind == "courses":
        return recorded_courses()[2].keys() - {"id"}
    if kind == "enrolments":
        return {"userid", "courseid", *report_columns(PARTICIPANTS)} - {*PERSON_COLUMNS, "Course ID number"}
    return {"userid", *RATING_FIELDS} - {"username"}
