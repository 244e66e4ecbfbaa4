r"""The report builder: three custom reports, their filters, and the order of their rows.

The reports have no sorting, so the database picks the order, and picks another one for another page size or filter
(`report_participants_p0_10`, `report_participants_filtered_timecompleted_3d`). Cells are text, escaped by `s()` for
HTML whatever `moodlewssettingraw` says (`core_reportbuilder\local\entities\user::format`).
"""

import html
from collections.abc import Iterator
from functools import cache
from typing import Any

import orjson

from lms_crm_assets.sandbox.moodle.functions import Call, function
from lms_crm_assets.sandbox.moodle.recorded import (
    COMPETENCIES,
    PARTICIPANTS,
    PERSON_COLUMNS,
    RATING_FIELDS,
    TIME_COLUMNS,
    USERS,
    Row,
    recording,
    report_columns,
    time_text,
)
from lms_crm_assets.sandbox.moodle.rest import Default, MoodleError, missing_record, php_int
from lms_crm_assets.sandbox.moodle.site import Site

_GUEST = 1
_SMALL_PAGE = 10
# One row a course for each method that nobody has used (`report_participants_p0_500`).
_UNUSED_METHODS = {"Self enrolment": "Self enrolment (Student)", "Guest access": "Guest access"}
# Operators of `core_reportbuilder\local\filters\date`.
_NOT_EMPTY, _EMPTY, _RANGE = 1, 2, 3

Cells = list[Any]
Line = tuple[Cells, Row]
"""The cells of a row, and the epoch seconds of its filters."""


@function("core_reportbuilder_list_reports", page=Default(int, 0), perpage=Default(int, 10))
def list_reports(call: Call, page: int, perpage: int) -> Row:
    """The three reports, by name."""
    _require_reports(call, "errorreportaccess")
    listed = recording("reports_list")
    return {**listed, "reports": listed["reports"][page * perpage :][: perpage or None]}


@function("core_reportbuilder_retrieve_report", reportid=int, page=Default(int, 0), perpage=Default(int, 10))
def retrieve_report(call: Call, reportid: int, page: int, perpage: int) -> Row:
    """One page, with the filters that this account has set; no tombstones."""
    details = _details(call, reportid)
    filters = call.site.filters.get(f"{call.account}:{reportid}", {})
    lines = [
        (cells, times)
        for cells, times in _lines(call.site, reportid)
        if _passes(times, filters) and call.lists(_identity(cells))
    ]
    ranks = _ranks(reportid, small=perpage == _SMALL_PAGE, filtered=bool(filters))
    lines.sort(key=lambda line: ranks.get(_identity(line[0]), len(ranks)))
    rows = [{"columns": cells} for cells, _ in lines[page * perpage :][: perpage or None]]
    data = {"headers": report_columns(reportid), "rows": rows, "totalrowcount": len(lines)}
    return {"details": details, "data": data, "warnings": []}


@function("core_reportbuilder_set_filters", reportid=int, parameters=Default(str, ""), values=str)
def set_filters(call: Call, reportid: int, values: str, **_: Any) -> bool:
    """Keep the filters for this account and report until it sets others; what is no JSON object clears them."""
    _details(call, reportid)
    try:
        given = orjson.loads(values)
    except orjson.JSONDecodeError:
        given = None
    call.site.filters[f"{call.account}:{reportid}"] = given if isinstance(given, dict) else {}
    return True


def _require_reports(call: Call, errorcode: str = "errorreportview") -> None:
    if not call.privileged:
        # Not recorded; `core_reportbuilder\report_access_exception` of the source.
        raise MoodleError("core_reportbuilder\\report_access_exception", errorcode, "You cannot view this report")


def _details(call: Call, report_id: int) -> Row:
    details: Row | None = next((row for row in recording("reports_list")["reports"] if row["id"] == report_id), None)
    if details is None:
        raise missing_record("reportbuilder_report")
    _require_reports(call)
    return details


def _passes(times: Row, filters: Row) -> bool:
    """Whether a row stays: filters of columns that the report doesn't have are ignored, without a word."""
    for column, epoch in times.items():
        operator = php_int(filters.get(f"{column}_operator"))
        start, end = php_int(filters.get(f"{column}_from")), php_int(filters.get(f"{column}_to"))
        if operator == _RANGE and ((start and epoch < start) or (end and (epoch >= end or not epoch))):
            return False
        if (operator == _NOT_EMPTY and not epoch) or (operator == _EMPTY and epoch):
            return False
    return True


def _lines(site: Site, report_id: int) -> Iterator[Line]:
    if report_id == PARTICIPANTS:
        return _participants(site)
    return _users(site) if report_id == USERS else _competencies(site)


def _participants(site: Site) -> Iterator[Line]:
    columns = report_columns(PARTICIPANTS)
    for row in site.enrolments.values():
        user = site.users[row["userid"]]
        person = zip(PERSON_COLUMNS, (user.get("idnumber", ""), user["username"], user["email"]), strict=True)
        shown = row | dict(person) | {name: time_text(row[name]) for name in TIME_COLUMNS}
        shown["Course ID number"] = site.courses[row["courseid"]]["idnumber"]
        yield [_cell(shown[name]) for name in columns], {"completion:timecompleted": row["Time completed"]}
    for course in site.courses.values():
        for plugin, method in _UNUSED_METHODS.items() if course["id"] != 1 else ():
            shown = dict.fromkeys(columns, "") | {"Plugin": plugin, "Method": method, "Status": None}
            shown["Course ID number"] = course["idnumber"]
            yield [_cell(shown[name]) for name in columns], {"completion:timecompleted": 0}


def _users(site: Site) -> Iterator[Line]:
    for user in site.users.values():
        if user["deleted"] or user["id"] == _GUEST:
            continue
        names = ("username", "email", "idnumber", "firstname", "lastname", "institution")
        times = [time_text(user[name]) for name in ("timecreated", "timemodified", "lastaccess")]
        cells = [_cell(user.get(name, "")) for name in names] + ["Yes" if user["suspended"] else "No", *times]
        yield cells, {"user:timecreated": user["timecreated"], "user:timemodified": user["timemodified"]}


def _competencies(site: Site) -> Iterator[Line]:
    for row in site.ratings.values():
        shown = row | {"username": site.users[row["userid"]]["username"]}
        yield [_cell(shown[name]) for name in RATING_FIELDS], {}


def _cell(value: str | None) -> str | None:
    # PHP's `s()` writes &#039; where Python's `escape` writes &#x27;.
    return value if value is None else html.escape(value).replace("&#x27;", "&#039;")


def _identity(cells: Cells) -> tuple[Any, ...]:
    """What names a row in any of the reports: person, course or competency, method."""
    return tuple(cells[:2]) if len(cells) == len(report_columns(USERS)) else (cells[1], cells[3], cells[5])


@cache
def _ranks(report_id: int, *, small: bool, filtered: bool) -> dict[tuple[Any, ...], int]:
    """The recorded order of a report's rows; rows that were not recorded follow."""
    names = {
        PARTICIPANTS: ["report_participants_p0_500"],
        USERS: ["report_users_p0_500"],
        COMPETENCIES: ["report_competencies_p0_500"],
    }[report_id]
    if report_id == PARTICIPANTS and filtered:
        names.insert(0, "report_participants_filtered_timecompleted_3d")
    elif report_id == PARTICIPANTS and small:
        names.insert(0, "report_participants_p0_10")
    ranks: dict[tuple[Any, ...], int] = {}
    for name in names:
        for row in recording(name)["data"]["rows"]:
            ranks.setdefault(_identity(row["columns"]), len(ranks))
    return ranks
