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
    recording,
    report_columns,
    time_text,
)
from lms_crm_assets.sandbox.moodle.report_filters import keeping
from lms_crm_assets.sandbox.moodle.rest import Default, MoodleError, missing_record
from lms_crm_assets.sandbox.moodle.site import Site
from lms_crm_assets.sandbox.moodle.tables import Row

_GUEST = 1
_SMALL_PAGE = 10
# One row a course for each method that nobody has used (`report_participants_p0_500`).
_UNUSED_METHODS = {"Self enrolment": "Self enrolment (Student)", "Guest access": "Guest access"}
# The columns of `Site.enrolments` that filters look at; other filters look at the person.
_TIME_COLUMNS = {
    "completion:timecompleted": "Time completed",
    "enrolment:timecreated": "Time created",
    "enrolment:timestarted": "Time started",
    "enrolment:timeended": "Time ended",
}
_PERSON = ("user:username", "user:email", "user:idnumber")
_FILTERED = {
    PARTICIPANTS: (*_TIME_COLUMNS, *_PERSON),
    USERS: ("user:timecreated", "user:timemodified", "user:lastaccess", *_PERSON),
    COMPETENCIES: (),
}
_SEARCHES_KEPT = 4

Cells = list[Any]


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
    lines = _found(call.site, reportid, filters)
    if call.listed is not None:
        lines = [line for line in lines if call.lists(_identity(_cells(call.site, reportid, line)))]
    if call.site.school is None:
        ranks = _ranks(reportid, small=perpage == _SMALL_PAGE, filtered=bool(filters))
        places = [ranks.get(_identity(_cells(call.site, reportid, line)), len(ranks)) for line in lines]
        lines = [lines[i] for i in sorted(range(len(lines)), key=places.__getitem__)]
    page_lines = lines[page * perpage :][: perpage or None]
    rows = [{"columns": _cells(call.site, reportid, line)} for line in page_lines]
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


def _found(site: Site, report_id: int, filters: Row) -> list[Row]:
    """The lines that the filters keep; kept for the pages that follow, until something changes."""
    key = (report_id, site.version, orjson.dumps(filters, option=orjson.OPT_SORT_KEYS))
    found = site.found_lines.get(key)
    if found is None:
        found = list(_lines(site, report_id))
        for name in _FILTERED[report_id]:
            if (keep := keeping(name, filters)) is not None:
                found = [line for line in found if keep(_value(site, line, name))]
        if len(site.found_lines) >= _SEARCHES_KEPT:
            site.found_lines.pop(next(iter(site.found_lines)))
        site.found_lines[key] = found
    return found


def _lines(site: Site, report_id: int) -> Iterator[Row]:
    """The rows of the tables that a report shows, and of the participants one for each method that nobody has used."""
    if report_id == PARTICIPANTS:
        yield from site.enrolments.values()
        for course_id in site.courses:
            for method in _UNUSED_METHODS if course_id != 1 else ():
                yield {"courseid": course_id, "unused": method}
    elif report_id == USERS:
        yield from (user for user in site.users.values() if not user["deleted"] and user["id"] != _GUEST)
    else:
        yield from site.ratings.values()


def _value(site: Site, line: Row, name: str) -> Any:
    """What a filter looks at; None is SQL's NULL."""
    if "unused" in line:
        return None
    if name in _TIME_COLUMNS:
        # An enrolment without an end has 0 for it; without a completion there is no row of completions.
        return line[_TIME_COLUMNS[name]] or (None if name == "completion:timecompleted" else 0)
    user = site.users[line["userid"]] if "userid" in line else line
    return user.get(name.removeprefix("user:"), "")


def _cells(site: Site, report_id: int, line: Row) -> Cells:
    if report_id == COMPETENCIES:
        shown = line | {"username": site.users[line["userid"]]["username"]}
        return [_cell(shown[name]) for name in RATING_FIELDS]
    if report_id == USERS:
        names = ("username", "email", "idnumber", "firstname", "lastname", "institution")
        times = [time_text(line[name]) for name in ("timecreated", "timemodified", "lastaccess")]
        return [_cell(line.get(name, "")) for name in names] + ["Yes" if line["suspended"] else "No", *times]
    columns = report_columns(PARTICIPANTS)
    if "unused" in line:
        method = line["unused"]
        shown = dict.fromkeys(columns, "") | {"Plugin": method, "Method": _UNUSED_METHODS[method], "Status": None}
    else:
        user = site.users[line["userid"]]
        person = zip(PERSON_COLUMNS, (user.get("idnumber", ""), user["username"], user["email"]), strict=True)
        shown = line | dict(person) | {name: time_text(line[name]) for name in TIME_COLUMNS}
    shown["Course ID number"] = site.courses[line["courseid"]]["idnumber"]
    return [_cell(shown[name]) for name in columns]


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
