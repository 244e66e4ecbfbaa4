"""What the recordings of the Moodle 4.5.6 site hold, as the tables of `Site`."""

import hashlib
import html
import re
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from lms_crm_assets.sandbox.moodle.tables import Contents, Row

PARTICIPANTS, USERS, COMPETENCIES = 1, 2, 3
TIME_COLUMNS = ("Time created", "Time started", "Time ended", "Time completed")
PERSON_COLUMNS = ("ID number", "Username", "Email address")
RATING_FIELDS = ("framework_idnumber", "competency_idnumber", "name", "username", "status", "proficient", "rating")

# Past every time in the recordings, so that a change made now is newer than all that was recorded.
_RECORDED_UNTIL = 1795474870
_ZONE = ZoneInfo("Europe/London")
_MARK = re.compile(r"<[^>]*>")
_TIME_FORMAT = "%A, %d %B %Y, %I:%M %p"
_DELETED_USER = {
    "id": 204,
    "firstname": "Zora",
    "lastname": "O'Neil-200",
    "fullname": "Zora O'Neil-200",
    "username": "learner0200@globex.test.1795474300",
    "email": hashlib.md5(b"learner0200", usedforsecurity=False).hexdigest(),
}


@cache
def recording(name: str) -> Any:
    """One recorded answer; shared, so it must not be changed."""
    return orjson.loads(files(__package__).joinpath("recordings", f"{name}.json").read_bytes())


def time_text(epoch: int) -> str:
    """A time as a report shows it: localised to Europe/London, to the minute; empty for 0."""
    if not epoch:
        return ""
    moment = datetime.fromtimestamp(epoch, _ZONE)
    return f"{moment:%A}, {moment.day} {moment:%B %Y}, {moment.hour % 12 or 12}:{moment:%M %p}"


def time_epoch(shown: str | int) -> int:
    """The epoch seconds of what `time_text` gave; a number stays as it is."""
    if isinstance(shown, int):
        return shown
    return int(datetime.strptime(shown, _TIME_FORMAT).replace(tzinfo=_ZONE).timestamp()) if shown else 0


def grade_number(shown: str) -> float:
    """The number that a grade shows, beside whatever marks; `ValueError` if it shows none."""
    return float(_MARK.sub("", shown))


def report_columns(report_id: int) -> list[str]:
    """A report's column titles; two of the competencies report are alike, so its rows go by `RATING_FIELDS`."""
    names = {PARTICIPANTS: "participants", USERS: "users", COMPETENCIES: "competencies"}
    headers: list[str] = recording(f"report_{names[report_id]}_p0_500")["data"]["headers"]
    return headers


def enrolment_key(row: Row) -> str:
    """`user:course`; Moodle's answers hold no id of an enrolment."""
    return f"{row['userid']}:{row['courseid']}"


def rating_key(row: Row) -> str:
    """`user:competency_idnumber`."""
    return f"{row['userid']}:{row['competency_idnumber']}"


def mangled(user: Row, deleted_at: int) -> Row:
    """The names that `delete_user` of Moodle leaves."""
    return {
        "email": hashlib.md5(user["username"].encode(), usedforsecurity=False).hexdigest(),
        "username": f"{user['email'].lower()}.{deleted_at}",
    }


def recorded_contents() -> Contents:
    """The recorded site."""
    users, courses = recorded_users(), recorded_courses()
    return Contents(
        users=users,
        courses=courses,
        enrolments=recorded_enrolments(users, courses),
        ratings=recorded_ratings(users),
        activities={},
        frameworks=recording("competency_frameworks"),
        competencies=recording("competency_list"),
        until=_RECORDED_UNTIL,
    )


def recorded_users() -> dict[int, Row]:
    """By id; the deleted one (id 204) is made up, as the recorded site has none, by the rule of `delete_user`."""
    listed = [
        {name: value for name, value in row.items() if name != "preferences"}
        for row in recording("users_all_by_email_wildcard")["users"]
    ]
    shown = {row["columns"][0]: row["columns"] for row in recording("report_users_p0_500")["data"]["rows"]}
    users = {}
    for row in listed:
        # The guest is in no report; the site was installed a few minutes before its people were made.
        created, modified = shown[row["username"]][7:9] if row["username"] in shown else ("", "")
        times = {"timecreated": time_epoch(created), "timemodified": time_epoch(modified)}
        users[row["id"]] = {**row, **times, "deleted": False}
    template = {name: value for name, value in users[5].items() if name != "idnumber"}
    users[_DELETED_USER["id"]] = {**template, **_DELETED_USER, "deleted": True}
    return users


def recorded_courses() -> dict[int, Row]:
    """By id."""
    seen_by_users = {
        row["id"]: row for name in ("users_courses_of_completed", "users_courses") for row in recording(name)
    }
    courses = {}
    for row in recording("courses"):
        front_page, hidden = row["id"] == 1, row["shortname"] == "DRAFT1"
        courses[row["id"]] = {
            **row,
            "fullname": html.unescape(row["fullname"]),
            "displayname": html.unescape(row["displayname"]),
            "idnumber": "" if front_page else f"CRS-{row['shortname']}",
            "visible": 0 if hidden else 1,
            # Course 2 is recorded as 20005 and `users_courses` sorts by it: 5, 4, 3, 2.
            "sortorder": 1 if front_page else 20000 + 7 - row["id"],
            "timemodified": seen_by_users.get(row["id"], {}).get("timemodified", row["startdate"]),
            "imageid": 208 + 3 * row["id"],
        }
    return courses


def recorded_enrolments(users: dict[int, Row], courses: dict[int, Row]) -> dict[str, Row]:
    """By `user:course`: the 456 rows of the participants report that have a person."""
    user_ids = {row["username"]: row["id"] for row in users.values()}
    course_ids = {row["idnumber"]: row["id"] for row in courses.values()}
    columns = report_columns(PARTICIPANTS)
    enrolments = {}
    for listed in recording("report_participants_p0_500")["data"]["rows"]:
        row = dict(zip(columns, listed["columns"], strict=True))
        if row["Username"]:
            row |= {"userid": user_ids[row["Username"]], "courseid": course_ids[row["Course ID number"]]}
            row |= {name: time_epoch(row[name]) for name in TIME_COLUMNS}
            enrolments[enrolment_key(row)] = row
    return enrolments


def recorded_ratings(users: dict[int, Row]) -> dict[str, Row]:
    """By `user:competency_idnumber`: the rows of the competencies report."""
    user_ids = {row["username"]: row["id"] for row in users.values()}
    ratings = {}
    for listed in recording("report_competencies_p0_500")["data"]["rows"]:
        row = dict(zip(RATING_FIELDS, listed["columns"], strict=True))
        row["userid"] = user_ids[row.pop("username")]
        ratings[rating_key(row)] = row
    return ratings
