"""All that is read of one course: enrollments, progress, grades and results of outcomes.

Canvas has no such listings of a whole account. Progress and grades are read of those who are students by an enrollment
that wasn't deleted; the test student of the course view is none.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import MissingError, PermissionMissingError, ProtocolError
from lms_crm_assets.lms.canvas import records
from lms_crm_assets.lms.canvas.api import CanvasApi, is_bad_request, needing
from lms_crm_assets.lms.protocol import Page

OF_COURSES = frozenset({LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES})
_OF_ENROLLMENTS = OF_COURSES - {LmsEntity.COMPETENCIES}

# Without them Canvas gives only those that are under way (Canvas docs, "List enrollments").
_STATES = ["active", "invited", "creation_pending", "completed", "inactive", "deleted", "rejected"]
_TYPES = ["StudentEnrollment", "TeacherEnrollment", "TaEnrollment", "DesignerEnrollment", "ObserverEnrollment"]
_GRADED_AT_LEAST = "current_score"


@dataclass(frozen=True)
class CourseReader:
    """Reads one course; only of `users`, or of all when it is None.

    Whose progress isn't told in bulk although it may be there is asked one by one if among `doubted`. `unknown` are those
    of whose progress Canvas doesn't tell whether there is any.
    """

    api: CanvasApi
    course: str
    wanted: Collection[LmsEntity]
    activities: bool
    users: Collection[str] | None = None
    doubted: Collection[str] = ()
    unknown: set[str] = field(default_factory=set)

    def pages(self) -> Iterator[Page]:
        """The pages of the entities that are wanted; none when the course is gone by now."""
        try:
            if _OF_ENROLLMENTS.intersection(self.wanted):
                yield from self._of_enrollments()
            if LmsEntity.COMPETENCIES in self.wanted:
                yield from self._outcomes()
        except MissingError:
            # Deleted while it was read, or never there. A part of it that is missing is no part of it that is gone.
            if not self._is_gone():
                raise

    def _is_gone(self) -> bool:
        try:
            found = self.api.one(f"/courses/{self.course}")
        except MissingError:
            return True
        return found.get("workflow_state") == "deleted"

    def _of_enrollments(self) -> Iterator[Page]:
        students: set[str] = set()
        scored: dict[str, tuple[Any, RawRecord]] = {}
        row = 0
        for items in self._enrollments():
            students.update(filter(None, map(records.student, items)))
            if LmsEntity.ENROLLMENTS in self.wanted:
                found = [records.enrollment(item, self.course, n) for n, item in enumerate(items, row)]
                yield Page(LmsEntity.ENROLLMENTS, found)
            if LmsEntity.SCORES in self.wanted:
                self._score(items, scored)
            row += len(items)
        if scored:
            yield Page(LmsEntity.SCORES, [score for _, score in scored.values()])
        if LmsEntity.COMPLETIONS in self.wanted and students:
            for progress in self._completions(students):
                yield Page(LmsEntity.COMPLETIONS, progress)
        if LmsEntity.SCORES in self.wanted and self.activities and students:
            for scores in self._activity_scores(students):
                yield Page(LmsEntity.SCORES, scores)

    def _enrollments(self) -> Iterator[list[Any]]:
        query = {"state[]": _STATES, "type[]": _TYPES}
        with needing(f"may not list the people of course {self.course}"):
            if self.users is None:
                yield from self.api.listing(f"/courses/{self.course}/enrollments", query)
                return
            for user in sorted(self.users):
                try:
                    yield from self.api.listing(f"/courses/{self.course}/enrollments", {**query, "user_id": user})
                except MissingError:
                    if not self._is_nobody(user):
                        raise

    def _is_nobody(self, user: str) -> bool:
        """Whether nobody has this id any more."""
        try:
            return self.api.one(f"/users/{user}").get("workflow_state") == "deleted"
        except MissingError:
            return True

    def _score(self, items: Iterable[Any], scored: dict[str, tuple[Any, RawRecord]]) -> None:
        """Add the scores of enrollments; of somebody's several ones that of the most active counts."""
        for item in items:
            score = self._course_score(item)
            if score is not None:
                rank = records.activity_rank(item)
                if score.source_id not in scored or rank > scored[score.source_id][0]:
                    scored[score.source_id] = rank, score

    def _course_score(self, item: Any) -> RawRecord | None:
        user = records.student(item)
        if user is None:
            return None
        grades = item.get("grades")
        if not isinstance(grades, dict) or _GRADED_AT_LEAST not in grades:
            raise PermissionMissingError(
                f"the Canvas token may not see the grades of course {self.course}: it needs 'View all grades', see"
                " docs/canvas.md"
            )
        known = (grades.get(name) for name in ("override_score", "current_score", "final_score", "current_grade"))
        return records.course_score(user, self.course, grades) if any(v is not None for v in known) else None

    def _completions(self, students: set[str]) -> Iterator[list[RawRecord]]:
        """In bulk, and one by one whom the bulk leaves out: it has none whose enrollment is concluded or inactive."""
        left, refused = set(students), False
        with needing(f"may not see the progress in course {self.course}"):
            if self.users is None:
                try:
                    for items in self.api.listing(f"/courses/{self.course}/bulk_user_progress"):
                        yield [*self._progress_of(items, left)]
                except MissingError:
                    pass  # a Canvas without the bulk call
                except ProtocolError as exc:
                    if is_bad_request(exc):
                        # No module of the course has requirements, or it was refused in passing.
                        refused = True
                        left.intersection_update(self.doubted)
                    else:
                        raise
            for user in sorted(left):
                progress = self._progress(user)
                if _is_progress(progress):
                    yield [records.completion(user, self.course, progress)]
                elif refused and user in self.unknown:
                    # So it is with all of them; a call for each would only tell the same.
                    self.unknown.update(left)
                    return

    def _progress_of(self, items: Iterable[Any], left: set[str]) -> Iterator[RawRecord]:
        """The progress of students in a page of the bulk; takes them out of those that are `left`."""
        for item in items:
            user = records.text_id(item)
            if user in left:
                left.remove(user)
                if _is_progress(item.get("progress")):
                    yield records.completion(user, self.course, item["progress"])

    def _progress(self, user: str) -> Any:
        try:
            return self.api.one(f"/courses/{self.course}/users/{user}/progress")
        except ProtocolError as exc:
            if not isinstance(exc, MissingError) and not is_bad_request(exc):
                raise
            # The course has this student. It may have no requirements, or the call was refused for something else.
            self.unknown.add(user)
            return None

    def _activity_scores(self, students: set[str]) -> Iterator[list[RawRecord]]:
        of_whom = ["all"] if self.users is None else sorted(students)
        with needing(f"may not see the grades of course {self.course}"):
            assignments = {
                records.text_id(item): item
                for items in self.api.listing(f"/courses/{self.course}/assignments")
                for item in items
            }
            query = {"student_ids[]": of_whom, "exclude_response_fields[]": ["attachments", "preview_url"]}
            for items in self.api.listing(f"/courses/{self.course}/students/submissions", query):
                found = (
                    records.activity_score(item, self.course, assignments.get(records.text_id(item, "assignment_id")))
                    for item in items
                    if records.text_id(item, "user_id") in students
                )
                yield [*filter(None, found)]

    def _outcomes(self) -> Iterator[Page]:
        """Results of all students: Canvas answers 400 if it is asked for somebody who is none any more."""
        row = 0
        with needing(f"may not see the results of outcomes in course {self.course}"):
            include = {"include[]": ["outcomes", "outcome_paths"]}
            for content in self.api.pages(f"/courses/{self.course}/outcome_results", include):
                results = content.get("outcome_results") if isinstance(content, dict) else None
                if not isinstance(results, list):
                    raise ProtocolError(f"Canvas answers the outcome results of course {self.course} without them")
                outcomes, paths = _linked(content, "outcomes"), _linked(content, "outcome_paths")
                page = []
                for n, item in enumerate(results, row):
                    links = item.get("links") if isinstance(item, dict) else None
                    outcome = records.text_id(links, "learning_outcome")
                    of = outcomes.get(outcome), paths.get(outcome)
                    page.append(records.outcome_result(item, self.course, *of, row=n))
                row += len(results)
                yield Page(LmsEntity.COMPETENCIES, page)


def _is_progress(found: Any) -> bool:
    """Whether an answer tells of progress; a course or a person without any is answered with an error's text."""
    return isinstance(found, dict) and "error" not in found


def _linked(content: dict[str, Any], name: str) -> dict[str | None, Any]:
    linked = content.get("linked")
    items = linked.get(name) if isinstance(linked, dict) else None
    return {records.text_id(item): item for item in items} if isinstance(items, list) else {}
