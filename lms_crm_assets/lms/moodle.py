"""Moodle, read through its REST web services and two report builder reports.

Core services give no enrolment status, dates or completion times in bulk; the reports do (facts: Moodle 4.5). Answers
are HTTP 200 even when they are errors, an unsupported search key returns everyone with a warning, and suspended
enrolments are missing everywhere but in the reports.
"""

import html
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import count
from typing import Any

from lms_crm_assets.contract.credentials import resolve
from lms_crm_assets.contract.models import LmsThrottle, MoodleSource
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import CredentialError, FatalError, PermissionMissingError, ProtocolError, RetryableError
from lms_crm_assets.lms.entry import FixedEntry
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.lms.transport import Transport, lms_gate
from lms_crm_assets.ops.store import OperationalStore

_ENDPOINT = "/webservice/rest/server.php"
_ROWS_A_PAGE = 500

PARTICIPANTS_HEADERS = [
    "ID number",
    "Username",
    "Email address",
    "Course ID number",
    "Plugin",
    "Method",
    "Status",
    "Time created",
    "Time started",
    "Time ended",
    "Role",
    "Completed",
    "Time completed",
    "Student progress",
    "Grade",
]
COMPETENCIES_HEADERS = ["ID number", "ID number", "Name", "Username", "Status", "Proficient", "Rating"]
_USERNAME, _COURSE = PARTICIPANTS_HEADERS.index("Username"), PARTICIPANTS_HEADERS.index("Course ID number")
_METHOD, _GRADE = PARTICIPANTS_HEADERS.index("Method"), PARTICIPANTS_HEADERS.index("Grade")
_OF_PARTICIPANTS = frozenset({LmsEntity.COURSES, LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES})


class MoodleAdapter:
    """One Moodle site. It has no changes feed: every pull reads everything."""

    capabilities = Capabilities(entities=frozenset(LmsEntity))

    def __init__(self, source: MoodleSource, limit: LmsThrottle, store: OperationalStore) -> None:
        self._source = source
        self._token = resolve(source.token)
        entry = FixedEntry(source.url, self._token, "source.token")
        gate = lms_gate(store, source.url, entry.credential, limit, at_once=source.concurrency)
        self._transport = Transport(source.url, gate, entry, check=raise_for_exception)

    def probe(self) -> list[str]:
        """Ask the site who we are."""
        form = self._form("core_webservice_get_site_info", {})
        info = self._transport.probe("POST", _ENDPOINT, data=form).content
        if not isinstance(info, dict) or "functions" not in info:
            raise ProtocolError(f"{self._source.url} answers, but not as a Moodle does: check source.url")
        return []

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """Everything of the entities; `since` is of no use here."""
        del since
        if LmsEntity.LEARNERS in entities:
            yield Page(LmsEntity.LEARNERS, self._users())
        if _OF_PARTICIPANTS.intersection(entities):
            yield from self._participants(entities)
        if LmsEntity.COMPETENCIES in entities and self._source.reports.competencies is not None:
            for rows in self._report(self._source.reports.competencies, COMPETENCIES_HEADERS):
                yield Page(LmsEntity.COMPETENCIES, [_record(row, row[3], row[0], row[1]) for row in rows])

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _users(self) -> list[RawRecord]:
        answer = self._call("core_user_get_users", {"criteria[0][key]": "email", "criteria[0][value]": "%"})
        return [RawRecord(str(user["id"]), user) for user in answer["users"]]

    def _participants(self, entities: Collection[LmsEntity]) -> Iterator[Page]:
        course_numbers: set[str] = set()
        for rows in self._report(self._source.reports.participants, PARTICIPANTS_HEADERS):
            # Enrolment methods nobody uses appear as rows without a person.
            people = [row for row in rows if row[_USERNAME]]
            course_numbers.update(row[_COURSE] for row in people)
            records = [_record(row, row[_USERNAME], row[_COURSE], row[_METHOD]) for row in people]
            for entity in (LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS):
                if entity in entities:
                    yield Page(entity, records)
            if LmsEntity.SCORES in entities:
                graded = [r for r, row in zip(records, people, strict=True) if row[_GRADE]]
                yield Page(LmsEntity.SCORES, graded)
        if LmsEntity.COURSES in entities:
            yield Page(LmsEntity.COURSES, self._courses(course_numbers))

    def _courses(self, idnumbers: Collection[str]) -> list[RawRecord]:
        """All courses; `idnumber` is added where a participant's row names it.

        The list itself withholds the ID number from accounts that may not edit courses, but can be asked by it.
        """
        numbers: dict[int, str] = {}
        for idnumber in sorted(filter(None, idnumbers)):
            found = self._call("core_course_get_courses_by_field", {"field": "idnumber", "value": idnumber})["courses"]
            if len(found) != 1:
                raise ProtocolError(f"Moodle finds {len(found)} courses with the ID number {idnumber!r} instead of one")
            numbers[found[0]["id"]] = idnumber
        courses = self._call("core_course_get_courses", {})
        return [RawRecord(str(c["id"]), {**c, "idnumber": numbers.get(c["id"], c.get("idnumber"))}) for c in courses]

    def _report(self, report_id: int, headers: list[str]) -> Iterator[list[list[str]]]:
        seen = 0
        for page in count():
            form = {"reportid": report_id, "page": page, "perpage": _ROWS_A_PAGE}
            data = self._call("core_reportbuilder_retrieve_report", form)["data"]
            if data["headers"] != headers:
                raise FatalError(
                    f"the Moodle report {report_id} has the columns {data['headers']}, it needs {headers}: "
                    "change the report or source.reports"
                )
            rows = [[html.unescape(cell) if cell else "" for cell in row["columns"]] for row in data["rows"]]
            seen += len(rows)
            yield rows
            if seen >= data["totalrowcount"]:
                return
            if not rows:
                raise RetryableError(f"the Moodle report {report_id} ended at {seen} of {data['totalrowcount']} rows")

    def _call(self, function: str, parameters: Mapping[str, Any]) -> Any:
        return self._transport.post_form(_ENDPOINT, self._form(function, parameters))

    def _form(self, function: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "wstoken": self._token.get_secret_value(),
            "wsfunction": function,
            "moodlewsrestformat": "json",
            # Without it texts come back HTML-escaped.
            "moodlewssettingraw": "true",
            **parameters,
        }


def _record(row: list[str], *key: str) -> RawRecord:
    return RawRecord(":".join(key), {"columns": row})


def raise_for_exception(answer: Any) -> None:
    """Raise what a Moodle answer means: errors and warnings come with HTTP 200."""
    if not isinstance(answer, dict):
        return
    if "exception" in answer:
        code = answer.get("errorcode", "")
        said = f"Moodle answers '{code}': {answer.get('message', '')}"
        match code:
            case "invalidtoken":
                raise CredentialError(f"{said}; check source.token")
            case "accessexception":
                raise PermissionMissingError(f"{said}; the token is expired or its service lacks the function")
            case "dbconnectionfailed" | "ex_unabletolock" | "dmlreadexception" | "dmlwriteexception":
                raise RetryableError(said)
            case _:
                raise ProtocolError(said)
    if answer.get("warnings"):
        # An unsupported search key returns everyone and only this warning.
        warning = answer["warnings"][0]
        raise ProtocolError(f"Moodle warns '{warning.get('warningcode')}': {warning.get('message')}")
