"""Moodle's web service functions over the state of `Site`: the site, its users, courses and enrolments.

Completion, grades and competencies are in `progress`, the report builder in `reports`; both register here.

Every answer is built from the tables, in the recorded shapes, so that an unmutated site answers a recorded request as
recorded. What was recorded for one course or user only is derived for the others, and said so at the place.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.sandbox.moodle.recorded import recording
from lms_crm_assets.sandbox.moodle.rest import (
    Default,
    MoodleError,
    Spec,
    invalid_parameter,
    missing_record,
    moodle_exception,
    php_int,
)
from lms_crm_assets.sandbox.moodle.site import Site
from lms_crm_assets.sandbox.moodle.tables import Row

_HIDDEN_USER_FIELDS = {"timecreated", "timemodified", "deleted"}
_ENROLLED_FIELDS = ["id", "username", "firstname", "lastname", "fullname", "email", "department", "institution"]
_ENROLLED_FIELDS += ["idnumber", "firstaccess", "lastaccess", "country", "profileimageurlsmall", "profileimageurl"]
_USER_SEARCH_LIKE = {"lastname", "firstname", "email"}
_USER_SEARCH = {"id", "idnumber", "username", "auth"} | _USER_SEARCH_LIKE
_STUDENT = {"roleid": 5, "name": "", "shortname": "student", "sortorder": 0}
_ROLES = {"Teacher": {"roleid": 3, "name": "", "shortname": "editingteacher", "sortorder": 0}}


@dataclass(frozen=True)
class Call:
    """One authenticated request: the account it comes from and what that may see."""

    site: Site
    account: int
    privileged: bool
    raw: bool = False
    listed: Callable[[str], bool] | None = None

    def lists(self, key: Any) -> bool:
        """Whether a listing holds the row, which it may not with the fault `fewer`."""
        return self.listed is None or self.listed(str(key))

    def sees(self, user_id: int) -> bool:
        """Whether the account is told of that person: the poor one only of itself."""
        return self.privileged or user_id == self.account

    def text(self, value: str) -> str:
        """A name as `format_string` gives it: HTML, unless `moodlewssettingraw=true` was sent."""
        if self.raw:
            return value
        return re.sub(r"&(?!#?\w+;)", "&amp;", value).replace("<", "&lt;").replace(">", "&gt;")

    def course(self, course_id: int) -> Row:
        """The course; `MoodleError` when there is none or the account is not in it."""
        if course_id not in self.site.courses:
            raise missing_record("course")
        if not self.privileged:
            raise MoodleError(
                "core\\exception\\require_login_exception", "requireloginerror", "Course or activity not accessible."
            )
        return self.site.courses[course_id]

    def require_capability(self, capability: str) -> None:
        """`MoodleError` for the poor account (not recorded; the wording is that of `nopermissions`)."""
        if not self.privileged:
            message = f"Sorry, but you do not currently have permissions to do that ({capability})."
            raise MoodleError("core\\exception\\required_capability_exception", "nopermissions", message)


@dataclass(frozen=True)
class Function:
    """A function of the service and the parameters it declares."""

    run: Callable[..., Any]
    parameters: Mapping[str, Spec]


FUNCTIONS: dict[str, Function] = {}


def function(name: str, **parameters: Spec) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a web service function under its name."""

    def register(run: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS[name] = Function(run, parameters)
        return run

    return register


def _out_of_context(course_id: int) -> MoodleError:
    return moodle_exception(
        "errorcoursecontextnotvalid",
        f"You cannot execute functions in the course context (course id:{course_id}). "
        "The context error message was: Course or activity not accessible.",
    )


@function("core_webservice_get_site_info", serviceshortnames=Default([str], []))
def get_site_info(call: Call, **_: Any) -> Row:
    """As recorded; the poor account sees its own names. The service of a generated school has what is simulated."""
    user = call.site.users[call.account]
    names = {name: user[name] for name in ("username", "firstname", "lastname", "fullname")}
    info = recording("site_info")
    if call.site.school is not None:
        info = {**info, "functions": [item for item in info["functions"] if item["name"] in FUNCTIONS]}
    return {**info, **names, "userid": user["id"]}


def _shown_user(call: Call, user: Row) -> Row:
    shown = {name: value for name, value in user.items() if name not in _HIDDEN_USER_FIELDS}
    if not user["email"]:
        del shown["email"]
    if user["id"] == call.account:
        listed = recording("users_all_by_email_wildcard" if call.privileged else "err_no_access_users")["users"]
        shown["preferences"] = next(row["preferences"] for row in listed if row["id"] == call.account)
    return shown


def _visible_users(call: Call) -> list[Row]:
    """All, the deleted ones too; the poor account sees itself alone."""
    users = call.site.users
    return [users[key] for key in sorted(users) if call.sees(key)]


def _matches(user: Row, key: str, wanted: str) -> bool:
    value = str(user.get(key, ""))
    if key not in _USER_SEARCH_LIKE:
        return value == wanted
    like = re.escape(wanted).replace("%", ".*").replace("_", ".")
    return re.fullmatch(like, value, re.IGNORECASE | re.DOTALL) is not None


@function("core_user_get_users", criteria=[{"key": str, "value": str}])
def get_users(call: Call, criteria: list[dict[str, str]]) -> Row:
    """All criteria together; an unknown key is ignored and warned of, so that alone it finds everyone."""
    known = [item for item in criteria if item["key"] in _USER_SEARCH]
    if len({item["key"] for item in known}) < len(known):
        raise moodle_exception("keyalreadyset", "The key is already set")
    found = [
        _shown_user(call, user)
        for user in _visible_users(call)
        if not user["deleted"]
        and call.lists(user["id"])
        and all(_matches(user, item["key"], item["value"]) for item in known)
    ]
    warnings = [
        {
            "item": item["key"],
            "warningcode": "invalidfieldparameter",
            "message": f"The search key '{item['key']}' is not supported, look at the web service documentation",
        }
        for item in criteria
        if item["key"] not in _USER_SEARCH
    ]
    return {"users": found, "warnings": warnings}


@function("core_user_get_users_by_field", field=str, values=[str])
def get_users_by_field(call: Call, field: str, values: list[str]) -> list[Row]:
    """Deleted users too, without a flag, under their mangled names."""
    if field not in {"id", "idnumber", "username", "email"}:
        raise invalid_parameter()
    wanted = set(values)
    if field == "id":
        # Looked up, as clients ask for thousands of people by a few ids at a time.
        named = sorted(int(value) for value in wanted if value.isdecimal() and str(int(value)) == value)
        users = [call.site.users[key] for key in named if key in call.site.users and call.sees(key)]
    else:
        users = [user for user in _visible_users(call) if str(user.get(field, "")) in wanted]
    return [_shown_user(call, user) for user in users]


@function("core_course_get_courses", options=Default({"ids": Default([int], [])}, {"ids": []}))
def get_courses(call: Call, options: dict[str, list[int]]) -> list[Row]:
    """Without `visible` and `idnumber`: the recorded account may not update courses."""
    listed = [row for row in call.site.courses.values() if not options["ids"] or row["id"] in options["ids"]]
    if not call.privileged:
        raise _out_of_context(next((row["id"] for row in listed if row["id"] != 1), 1))
    listed = [row for row in listed if call.lists(row["id"])]
    internal = {"idnumber", "visible", "sortorder", "timemodified", "imageid"}
    return [{name: value for name, value in _named(call, row).items() if name not in internal} for row in listed]


def _named(call: Call, course: Row) -> Row:
    return {**course, "fullname": call.text(course["fullname"]), "displayname": call.text(course["displayname"])}


def _image(course: Row) -> str:
    base = recording("site_info")["siteurl"]
    return f"{base}/pluginfile.php/{course['imageid']}/course/generated/course.svg"


@function("core_course_get_courses_by_field", field=Default(str, ""), value=Default(str, ""))
def get_courses_by_field(call: Call, field: str, value: str) -> Row:
    """Recorded for course 2; the others take its settings and their own names, dates and order."""
    fields = {"id": "id", "ids": "id", "shortname": "shortname", "idnumber": "idnumber", "category": "categoryid"}
    if field and field not in fields:
        raise invalid_parameter()
    wanted = value.split(",") if field == "ids" else [value]
    template = recording("courses_by_field_idnumber")["courses"][0]
    categories = {row["id"]: row["name"] for row in recording("categories")}
    found = []
    for course in sorted(call.site.courses.values(), key=lambda row: int(row["sortorder"])):
        if call.privileged and (not field or str(course[fields[field]]) in wanted):
            own = {name: item for name, item in _named(call, course).items() if name in template}
            category = call.text(categories.get(course["categoryid"], ""))
            found.append({**template, **own, "categoryname": category, "courseimage": _image(course)})
    return {"courses": found, "warnings": []}


@function(
    "core_course_get_categories",
    criteria=Default([{"key": str, "value": str}], []),
    addsubcategories=Default(int, 1),
)
def get_categories(call: Call, criteria: list[dict[str, str]], **_: Any) -> list[Row]:
    """Two categories, as recorded; `coursecount` follows the courses."""
    found = []
    for row in recording("categories") if call.privileged else []:
        count = sum(course["categoryid"] == row["id"] for course in call.site.courses.values())
        if all(str(row.get(item["key"])) == item["value"] for item in criteria):
            found.append({**row, "name": call.text(row["name"]), "coursecount": count})
    return found


def _active_courses(call: Call, user_id: int) -> list[Row]:
    """The visible courses a person takes part in now, in the site's order."""
    site = call.site
    active = {row["courseid"] for row in site.enrolments.where("userid", user_id) if is_active(row)}
    courses = [site.courses[course_id] for course_id in active]
    return sorted((row for row in courses if row["visible"]), key=lambda row: int(row["sortorder"]))


def is_active(enrolment: Row) -> bool:
    """Neither suspended nor outside its time ("Not current")."""
    return bool(enrolment["Status"] == "Active")


@function("core_enrol_get_enrolled_users", courseid=int, options=Default([{"name": str, "value": str}], []))
def get_enrolled_users(call: Call, courseid: int, options: list[dict[str, str]]) -> list[Row]:
    """Neither status nor dates; `onlysuspended` holds the expired enrolments as well."""
    if courseid in call.site.courses and not call.privileged:
        raise _out_of_context(courseid)
    call.course(courseid)
    given = {item["name"]: item["value"] for item in options}
    active, suspended = (given.get(name, "") not in {"", "0"} for name in ("onlyactive", "onlysuspended"))
    sort = given.get("sortby", "id")
    if sort not in {"id", "firstname", "lastname", "siteorder"}:
        raise invalid_parameter()
    if active and suspended:
        raise MoodleError(
            "core\\exception\\coding_exception",
            "codingerror",
            "Coding error detected, it must be fixed by a programmer: "
            "Both onlyactive and onlysuspended are set, this is probably not what you want!",
        )
    people = [
        call.site.users[row["userid"]]
        for row in call.site.enrolments.where("courseid", courseid)
        if not (active and not is_active(row)) and not (suspended and is_active(row)) and call.lists(row["userid"])
    ]
    people.sort(key=lambda user: (user[sort] if sort in {"firstname", "lastname"} else "", user["id"]))
    if given.get("sortdirection", "ASC").upper() == "DESC":
        people.reverse()
    start, number = php_int(given.get("limitfrom")), php_int(given.get("limitnumber"))
    page = people[start : start + number if number else None]
    fields = {item.strip() for item in given["userfields"].split(",")} if "userfields" in given else None
    return [_shown_participant(call, courseid, user, fields) for user in page]


def _shown_participant(call: Call, course_id: int, user: Row, fields: set[str] | None) -> Row:
    shown = {name: user[name] for name in _ENROLLED_FIELDS if name in user} | {"lastcourseaccess": 0}
    shown["roles"] = [_ROLES.get(call.site.enrolments[f"{user['id']}:{course_id}"]["Role"], _STUDENT)]
    if not user["email"]:
        del shown["email"]
    if fields is None or "enrolledcourses" in fields:
        courses = [
            {"id": row["id"], "fullname": call.text(row["fullname"]), "shortname": row["shortname"]}
            for row in _active_courses(call, user["id"])
        ]
        shown |= {"enrolledcourses": courses} if courses else {}
    kept = {"id", "fullname"} | (fields or shown.keys())
    return {name: value for name, value in shown.items() if name in kept}


@function("core_enrol_get_users_courses", userid=int, returnusercount=Default(int, 1))
def get_users_courses(call: Call, userid: int, returnusercount: int) -> list[Row]:
    """The visible courses of the active enrolments; suspended and expired ones are left out."""
    if not call.privileged or userid not in call.site.users:
        return []
    template = recording("users_courses")[0]
    found = []
    for course in _active_courses(call, userid):
        enrolment = call.site.enrolments[f"{userid}:{course['id']}"]
        own = {name: value for name, value in _named(call, course).items() if name in template}
        shown = {
            **template,
            **own,
            "category": course["categoryid"],
            "courseimage": _image(course),
            "enrolledusercount": call.site.enrolments.count_where("courseid", course["id"]),
            "progress": percent(enrolment),
            "completed": enrolment["Completed"] == "Yes",
        }
        if not returnusercount:
            del shown["enrolledusercount"]
        found.append(shown)
    return found


def percent(enrolment: Row) -> int | float:
    """The progress of a participant as the web services give it: a number, whole where it is whole."""
    number = float(enrolment["Student progress"].rstrip("%") or 0)
    return int(number) if number.is_integer() else number
