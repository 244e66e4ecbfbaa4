"""The Moodle simulator with a generated school: the school's rows in Moodle's shapes, and what incremental clients need."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.moodle import MoodleSimulator
from lms_crm_assets.sandbox.moodle.functions import FUNCTIONS, Call
from lms_crm_assets.sandbox.moodle.recorded import PARTICIPANTS, recording, report_columns, time_epoch
from lms_crm_assets.sandbox.school.layout import Size
from lms_crm_assets.sandbox.school.store import Store
from tests.simulator_server import serving as serving_at

SIZE = Size(learners=1000, courses=12, enrollments=1800)
SHOWN = {"active": "Active", "completed": "Active", "suspended": "Suspended", "expired": "Not current"}


@contextmanager
def serving(simulator: MoodleSimulator) -> Iterator[httpx.Client]:
    with serving_at(simulator) as address, httpx.Client(base_url=address, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    with serving(MoodleSimulator(token="token", school=SIZE)) as client:
        yield client


@pytest.fixture
def moodle(server: httpx.Client) -> httpx.Client:
    server.post("/_sandbox/reset").raise_for_status()
    return server


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, dict[str, Any]]]:
    """The school's live rows by entity and id."""
    store = Store(SIZE)
    entities = ("learners", "courses", "enrollments", "completions", "scores", "competencies")
    return {entity: {row["id"]: row for _, row in store.rows(entity)} for entity in entities}


@pytest.fixture(scope="module")
def enrolled_rows(rows: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By `user:course`, the school's enrollments that Moodle has."""
    return {
        f"{user_id(row['learner_id'])}:{course_id(row['course_id'])}": row
        for row in rows["enrollments"].values()
        if row["status"] in SHOWN
        and row["course_id"] in rows["courses"]
        and rows["learners"][row["learner_id"]]["status"] != "deleted"
    }


def user_id(learner: str) -> int:
    return int(learner[4:]) + 4


def course_id(course: str) -> int:
    return int(course[4:]) + 1 if course[4:].isdigit() else 0


def call(client: httpx.Client, function: str, token: str = "token", **parameters: Any) -> Any:
    given = {"wstoken": token, "wsfunction": function, "moodlewsrestformat": "json", **flatten(parameters)}
    response = client.post("/webservice/rest/server.php", data=given)
    assert response.status_code == 200
    return response.json()


def flatten(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict | list):
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        found |= flatten(item, f"{name}[{key}]" if name else str(key))
    return found


def report(client: httpx.Client, report_id: int, perpage: int = 500) -> list[list[str]]:
    """All pages."""
    lines: list[list[str]] = []
    for page in range(1000):
        answer = call(client, "core_reportbuilder_retrieve_report", reportid=report_id, page=page, perpage=perpage)
        lines += [row["columns"] for row in answer["data"]["rows"]]
        if len(lines) >= answer["data"]["totalrowcount"]:
            return lines
    raise AssertionError("the report does not end")


def set_filters(client: httpx.Client, report_id: int, **values: Any) -> None:
    given = json.dumps({name.replace("__", ":"): value for name, value in values.items()})
    assert call(client, "core_reportbuilder_set_filters", reportid=report_id, values=given) is True


def participants(client: httpx.Client) -> dict[tuple[str, str], dict[str, str]]:
    columns = report_columns(PARTICIPANTS)
    lines = [dict(zip(columns, line, strict=True)) for line in report(client, 1)]
    return {(line["Username"], line["Course ID number"]): line for line in lines if line["Username"]}


def enrolled(client: httpx.Client, course: int, **options: Any) -> list[dict[str, Any]]:
    given = [{"name": name, "value": value} for name, value in options.items()]
    found: list[dict[str, Any]] = call(client, "core_enrol_get_enrolled_users", courseid=course, options=given)
    return found


def mutate(client: httpx.Client, kind: str, op: str, key: Any = None, **fields: Any) -> Any:
    name = {"key": key} if isinstance(key, str) else {"id": key}
    response = client.post("/_sandbox/mutate", json={"object": kind, "op": op, **name, "fields": fields})
    assert response.status_code == 200, response.text
    return response.json()


def epoch(text: str | None) -> int:
    return int(datetime.fromisoformat(text).timestamp()) if text else 0


class TestPeople:
    def test_every_learner_is_a_user(self, moodle: httpx.Client, rows: Any) -> None:
        everyone = call(moodle, "core_user_get_users", criteria=[{"key": "email", "value": "%"}])["users"]
        users = {user["id"]: user for user in everyone}
        living = {user_id(key): row for key, row in rows["learners"].items() if row["status"] != "deleted"}
        assert users.keys() - {1, 2, 3, 4} == living.keys()
        template = recording("users_all_by_email_wildcard")["users"][4]
        for key, row in living.items():
            user = users[key]
            assert user.keys() == template.keys() - ({"email"} if row["email"] is None else set())
            assert [user["username"], user.get("email"), user["firstname"], user["lastname"], user["country"]] == [
                row[name] for name in ("username", "email", "given_name", "family_name", "country")
            ]
            assert user["suspended"] == (row["status"] == "suspended")
            assert user["idnumber"] == f"EMP{key - 4:05d}"

    def test_deleted_learners_and_tombstones_are_found_by_field_only(self, moodle: httpx.Client, rows: Any) -> None:
        gone = [key for key in range(5, 1005) if f"lrn-{key - 4:07d}" not in rows["learners"]]
        gone += [user_id(key) for key, row in rows["learners"].items() if row["status"] == "deleted"]
        assert len(gone) == 8
        everyone = call(moodle, "core_user_get_users", criteria=[{"key": "email", "value": "%"}])["users"]
        assert not {user["id"] for user in everyone} & set(gone)
        found = call(moodle, "core_user_get_users_by_field", field="id", values=gone)
        assert [user["id"] for user in found] == sorted(gone)
        for user in found:
            assert "idnumber" not in user
            assert len(user["email"]) == 32
            assert user["username"].rpartition(".")[2].isdigit()
        names = {line[0] for line in report(moodle, 2)}
        assert not names & {user["username"] for user in found}

    def test_many_are_found_by_a_list_of_ids(self, moodle: httpx.Client) -> None:
        wanted = [900, 6, 7, 7, 5000, 3]
        found = call(moodle, "core_user_get_users_by_field", field="id", values=wanted)
        assert [user["id"] for user in found] == [3, 6, 7, 900]
        poor = call(moodle, "core_user_get_users_by_field", "poor", field="id", values=[4, 5])
        assert [user["id"] for user in poor] == [4]
        assert call(moodle, "core_user_get_users_by_field", field="id", values=["007", " 7", "x", "²"]) == []


class TestCourses:
    def test_every_course_is_one(self, moodle: httpx.Client, rows: Any) -> None:
        courses = {row["id"]: row for row in call(moodle, "core_course_get_courses", moodlewssettingraw="true")}
        assert courses.keys() == {1} | {course_id(key) for key in rows["courses"]}
        for key, row in rows["courses"].items():
            course = courses[course_id(key)]
            assert (course["fullname"], course["shortname"]) == (row["title"], row["code"])
            assert (course["startdate"], course["enddate"]) == (epoch(row["starts_at"]), epoch(row["ends_at"]))
            (found,) = call(moodle, "core_course_get_courses_by_field", field="idnumber", value=f"CRS-{row['code']}")[
                "courses"
            ]
            assert (found["id"], found["visible"]) == (course_id(key), int(row["visible"]))

    def test_users_courses_are_the_visible_ones_of_active_enrolments(
        self, moodle: httpx.Client, rows: Any, enrolled_rows: Any
    ) -> None:
        visible = {course_id(key) for key, row in rows["courses"].items() if row["visible"]}
        for user in (5, 20, 300, 301, 302):
            pairs = [key.split(":") for key, row in enrolled_rows.items() if SHOWN[row["status"]] == "Active"]
            wanted = {int(course) for own, course in pairs if int(own) == user} & visible
            assert {row["id"] for row in call(moodle, "core_enrol_get_users_courses", userid=user)} == wanted


class TestEnrolments:
    def test_the_report_holds_every_enrolment(self, moodle: httpx.Client, rows: Any, enrolled_rows: Any) -> None:
        lines = participants(moodle)
        assert len(lines) == len(enrolled_rows) > 1500
        completions = {(row["learner_id"], row["course_id"]): row for row in rows["completions"].values()}
        for row in enrolled_rows.values():
            learner, course = rows["learners"][row["learner_id"]], rows["courses"][row["course_id"]]
            line = lines[learner["username"], f"CRS-{course['code']}"]
            completion = completions[row["learner_id"], row["course_id"]]
            assert line["Status"] == SHOWN[row["status"]]
            assert line["Role"].lower() == row["role"]
            assert line["Completed"] == {"completed": "Yes", "in_progress": "No"}.get(completion["state"], "")
            assert line["Student progress"] == f"{completion['progress_pct']}.0%"
            for column, name in {"Time created": "enrolled_at", "Time ended": "ends_at"}.items():
                assert time_epoch(line[column]) == epoch(row[name]) // 60 * 60
            assert time_epoch(line["Time completed"]) == epoch(completion["completed_at"]) // 60 * 60

    def test_unused_methods_are_lines_without_a_person(self, moodle: httpx.Client) -> None:
        assert Counter(line[4] for line in report(moodle, 1) if not line[1]) == {
            "Self enrolment": 12,
            "Guest access": 12,
        }

    def test_active_and_suspended_make_all(self, moodle: httpx.Client, enrolled_rows: Any) -> None:
        for course in range(2, 14):
            keys = {key: row for key, row in enrolled_rows.items() if key.endswith(f":{course}")}
            wanted = {int(key.split(":")[0]): SHOWN[row["status"]] for key, row in keys.items()}
            assert [user["id"] for user in enrolled(moodle, course)] == sorted(wanted)
            active = {user["id"] for user in enrolled(moodle, course, onlyactive=1, userfields="id")}
            assert active == {user for user, status in wanted.items() if status == "Active"}
            suspended = enrolled(moodle, course, onlysuspended=1, userfields="id,roles")
            assert {user["id"] for user in suspended} == wanted.keys() - active

    def test_pages_join_and_fields_are_chosen(self, moodle: httpx.Client) -> None:
        whole = enrolled(moodle, 3, userfields="id,username,roles", sortby="id")
        pages = [
            enrolled(moodle, 3, userfields="id,username,roles", sortby="id", limitfrom=start, limitnumber=40)
            for start in range(0, len(whole) + 40, 40)
        ]
        assert [user for page in pages for user in page] == whole
        assert pages[-1] == []
        assert whole[0].keys() == {"id", "fullname", "username", "roles"}
        roles = {
            role["shortname"] for course in range(2, 14) for user in enrolled(moodle, course) for role in user["roles"]
        }
        assert roles == {"student", "editingteacher"}


class TestProgress:
    def test_completion_agrees_with_the_report(self, moodle: httpx.Client, rows: Any, enrolled_rows: Any) -> None:
        completions = {(row["learner_id"], row["course_id"]): row for row in rows["completions"].values()}
        for key, row in list(enrolled_rows.items())[:200]:
            user, course = map(int, key.split(":"))
            answer = call(moodle, "core_completion_get_course_completion_status", courseid=course, userid=user)
            if SHOWN[row["status"]] != "Active":
                assert answer["errorcode"] == "usernotenroled"
                continue
            completion = completions[row["learner_id"], row["course_id"]]
            status = answer["completionstatus"]
            assert status["completed"] == (completion["state"] == "completed")
            met = [one["timecompleted"] for one in status["completions"] if one["complete"]]
            if status["completed"]:
                assert max(met) == epoch(completion["completed_at"])

    @pytest.mark.parametrize("course", [2, 9])
    def test_grades_of_a_course(self, moodle: httpx.Client, rows: Any, enrolled_rows: Any, course: int) -> None:
        active = {
            int(key.split(":")[0]): row
            for key, row in enrolled_rows.items()
            if key.endswith(f":{course}") and SHOWN[row["status"]] == "Active"
        }
        scores = {(row["learner_id"], row["course_id"], row["item_id"]): row for row in rows["scores"].values()}
        answer = call(moodle, "gradereport_user_get_grade_items", courseid=course)["usergrades"]
        assert {grade["userid"] for grade in answer} == active.keys()
        shapes = [item.keys() for item in recording("grade_items_all_users")["usergrades"][0]["gradeitems"]]
        for grade in answer:
            row = active[grade["userid"]]
            *activities, total = grade["gradeitems"]
            assert [item.keys() for item in activities] == [shapes[0]] * 5
            assert total.keys() == shapes[1]
            assert (total["itemtype"], total["itemname"]) == ("course", None)
            score = scores.get((row["learner_id"], row["course_id"], "course-total"))
            raw = score["raw"] if score else None
            if isinstance(raw, str):
                assert total["gradeformatted"] == raw
                assert f"{total['graderaw']:.2f}" == raw.rpartition(">")[2]
            else:
                assert total["graderaw"] == raw
            for number, item in enumerate(activities, 1):
                score = scores.get((row["learner_id"], row["course_id"], f"activity-{number}"))
                assert item["graderaw"] == (score["raw"] if score else None)
                assert item["itemname"] == f"Activity {number}"
        one = answer[7]
        alone = call(moodle, "gradereport_user_get_grade_items", courseid=course, userid=one["userid"])
        assert alone["usergrades"] == [one]

    def test_items_have_ids_of_their_own(self, moodle: httpx.Client) -> None:
        courses = [call(moodle, "gradereport_user_get_grade_items", courseid=course) for course in range(2, 14)]
        ids = [item["id"] for course in courses for item in course["usergrades"][0]["gradeitems"]]
        assert len(set(ids)) == len(ids) == 72

    def test_competencies(self, moodle: httpx.Client, rows: Any) -> None:
        filters = [{"column": "competencyframeworkid", "value": 1}]
        listed = call(moodle, "core_competency_list_competencies", filters=filters)
        assert [row["idnumber"] for row in listed] == [f"CMP-{number:04d}" for number in range(1, 13)]
        (framework,) = call(moodle, "core_competency_list_competency_frameworks", context={"contextid": 1})
        assert framework["competenciescount"] == 12
        (taught,) = call(moodle, "core_competency_list_course_competencies", id=4)
        assert taught["competency"]["idnumber"] == "CMP-0003"
        assert taught["coursecompetency"]["courseid"] == 4
        lines = {(line[3], line[1]): line for line in report(moodle, 3)}
        assert len(lines) > 300
        for row in rows["competencies"].values():
            learner = rows["learners"][row["learner_id"]]
            if learner["status"] != "deleted":
                line = lines[learner["username"], row["competency"]["code"]]
                assert line[5:] == ["Yes" if row["proficient"] else "No", row["rating"]]


class TestFilters:
    def test_what_was_completed_since(self, moodle: httpx.Client, rows: Any) -> None:
        times = sorted(epoch(row["completed_at"]) for row in rows["completions"].values() if row["completed_at"])
        since = times[-100]
        set_filters(moodle, 1, completion__timecompleted_operator=3, completion__timecompleted_from=since)
        found = participants(moodle)
        assert 90 < len(found) <= 100
        assert all(time_epoch(line["Time completed"]) >= since // 60 * 60 for line in found.values())
        assert len(report(moodle, 1, perpage=7)) == len(found)
        mutate(moodle, "enrolments", "update", next(iter_unfinished(moodle)), Completed="Yes")
        assert len(participants(moodle)) == len(found) + 1

    def test_what_was_enrolled_in_a_span(self, moodle: httpx.Client, enrolled_rows: Any) -> None:
        times = sorted(epoch(row["enrolled_at"]) for row in enrolled_rows.values())
        start, end = times[300], times[400]
        bounds = {"enrolment__timecreated_from": start, "enrolment__timecreated_to": end}
        set_filters(moodle, 1, enrolment__timecreated_operator=3, **bounds)
        assert len(report(moodle, 1)) == sum(start <= moment < end for moment in times)

    def test_filters_are_joined_by_and(self, moodle: httpx.Client) -> None:
        name = participants(moodle)
        username = next(line["Username"] for line in name.values() if line["Completed"] == "Yes")
        completed = {"completion__timecompleted_operator": 1}
        set_filters(moodle, 1, user__username_operator=3, user__username_value=username, **completed)
        assert {(line[1], line[11]) for line in report(moodle, 1)} == {(username, "Yes")}

    @pytest.mark.parametrize(
        ("operator", "value", "keeps"),
        [
            (1, "NA.1", lambda name: "na.1" in name),
            (2, "a", lambda name: "a" not in name),
            (3, "ANA.1", lambda name: name == "ana.1"),
            (4, "ana.1", lambda name: name != "ana.1"),
            (5, "hugo.1", lambda name: name.startswith("hugo.1")),
            (6, ".100", lambda name: name.endswith(".100")),
            (7, "", lambda name: not name),
            (8, "", bool),
            (0, "ana", lambda name: name is not None),
            (3, "  ", lambda name: name is not None),
            (9, "ana", lambda name: name is not None),
        ],
    )
    def test_operators_for_texts(self, moodle: httpx.Client, operator: int, value: str, keeps: Any) -> None:
        names = [line[0] for line in report(moodle, 2)]
        set_filters(moodle, 2, user__username_operator=operator, user__username_value=value)
        assert [line[0] for line in report(moodle, 2)] == [name for name in names if keeps(name)]

    def test_lines_without_a_person_are_only_kept_by_is_empty(self, moodle: httpx.Client) -> None:
        set_filters(moodle, 1, user__username_operator=2, user__username_value="nobody")
        assert all(line[1] for line in report(moodle, 1))
        set_filters(moodle, 1, user__username_operator=7)
        assert len(report(moodle, 1)) == 24
        set_filters(moodle, 1, enrolment__timecreated_operator=3, enrolment__timecreated_to=2_000_000_000)
        assert all(line[1] for line in report(moodle, 1))

    def test_changed_users_are_found_and_filters_persist(self, moodle: httpx.Client) -> None:
        until = epoch("2026-11-01T00:00:00Z")
        set_filters(moodle, 2, user__timemodified_operator=3, user__timemodified_from=until + 1)
        # The accounts of every site were recorded later.
        before = {line[0] for line in report(moodle, 2)}
        assert before == {"admin", "svc_sync", "svc_poor"}
        mutate(moodle, "users", "update", 50, lastname="Neu")
        (line,) = [line for line in report(moodle, 2) if line[0] not in before]
        assert line[4] == "Neu"
        set_filters(moodle, 2)
        assert len(report(moodle, 2)) > 900


def iter_unfinished(client: httpx.Client) -> Iterator[str]:
    for row in client.get("/_sandbox/records/enrolments").json()["records"]:
        if row["Status"] == "Active" and row["Completed"] != "Yes":
            yield f"{row['userid']}:{row['courseid']}"


class TestControl:
    def test_a_change_is_seen_in_every_answer(self, moodle: httpx.Client) -> None:
        key = next(iter_unfinished(moodle))
        user, course = map(int, key.split(":"))
        mutate(moodle, "enrolments", "update", key, Status="Suspended", Grade="55.00")
        assert user in {one["id"] for one in enrolled(moodle, course, onlysuspended=1)}
        mutate(moodle, "enrolments", "delete", key)
        assert user not in {one["id"] for one in enrolled(moodle, course)}
        mutate(moodle, "enrolments", "create", userid=user, courseid=course)
        assert user in {one["id"] for one in enrolled(moodle, course, onlyactive=1)}
        mutate(moodle, "users", "delete", user)
        assert user not in {one["id"] for one in enrolled(moodle, course)}
        assert moodle.get("/_sandbox/records/enrolments").json()["total"] == len(participants(moodle))
        made = mutate(moodle, "users", "create", username="n", email="n@x.test", firstname="N", lastname="N")
        assert made["id"] == 1005
        mutate(moodle, "competencies", "create", userid=1005, competency_idnumber="CMP-0002", rating="Competent")
        assert [line[2] for line in report(moodle, 3) if line[3] == "n"] == [
            "API & integrations: basics 2".replace("&", "&amp;")
        ]

    def test_reset_takes_the_size(self, moodle: httpx.Client) -> None:
        moodle.post("/_sandbox/reset", json={"learners": 50, "courses": 2, "enrollments": 60}).raise_for_status()
        assert moodle.get("/_sandbox/records/users").json()["total"] == 54
        assert moodle.post("/_sandbox/reset", json={"learners": 0}).status_code == 400
        moodle.post("/_sandbox/reset", json={}).raise_for_status()
        assert moodle.get("/_sandbox/records/users").json()["total"] == 1004

    def test_a_dump_holds_only_the_changes_and_brings_everything_back(self) -> None:
        first = MoodleSimulator(school=Size(learners=300, courses=3, enrollments=400))
        key = next(f"{row['userid']}:{row['courseid']}" for row in first.records("enrolments"))
        first.mutate({"object": "enrolments", "op": "delete", "key": key})
        first.mutate({"object": "users", "op": "delete", "id": 100})
        first.mutate({"object": "courses", "op": "update", "id": 3, "fields": {"fullname": "x"}})
        text = json.dumps(first.dump())
        second = MoodleSimulator()
        second.load(json.loads(text))
        assert len(text) < 5000
        assert json.dumps(second.dump()) == text
        for kind in ("users", "courses", "enrolments", "competencies"):
            assert list(second.records(kind)) == list(first.records(kind))

    def test_fewer_lists_the_same_people_everywhere(self, moodle: httpx.Client) -> None:
        whole = {course: enrolled(moodle, course, userfields="id") for course in (2, 3)}
        fault = {"route": "server.php", "kind": "fewer", "rows": 0.1}
        moodle.post("/_sandbox/faults", json=[fault]).raise_for_status()
        everyone = call(moodle, "core_user_get_users", criteria=[{"key": "email", "value": "%"}])["users"]
        listed = {user["id"] for user in everyone}
        assert 50 < len(listed) < 200
        for course, people in whole.items():
            few = enrolled(moodle, course, userfields="id")
            assert few == [user for user in people if user["id"] in listed]
            grades = call(moodle, "gradereport_user_get_grade_items", courseid=course)["usergrades"]
            assert {grade["userid"] for grade in grades} <= listed
        moodle.post("/_sandbox/faults", json=[]).raise_for_status()


@pytest.mark.long
def test_functions_of_one_course_or_person_do_not_walk_all_enrolments() -> None:
    simulator = MoodleSimulator(school=Size(learners=10_000, courses=200, enrollments=40_000))
    caller = Call(simulator._site, 3, privileged=True)
    user = simulator._site.enrolments.where("courseid", 5)[0]["userid"]

    def lines(name: str, **parameters: Any) -> int:
        """How many lines of Python run for a call: other work on the machine doesn't decide."""
        counted = 0

        def count(_frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal counted
            counted += event == "line"
            return count

        sys.settrace(count)
        try:
            FUNCTIONS[name].run(caller, **parameters)
        finally:
            sys.settrace(None)
        return counted

    slim = [{"name": "userfields", "value": "id"}]
    few = 20_000
    assert lines("core_enrol_get_enrolled_users", courseid=5, options=slim) < few
    assert lines("core_completion_get_course_completion_status", courseid=5, userid=user) < few
    assert lines("gradereport_user_get_grade_items", courseid=5, userid=user) < few
    assert lines("core_enrol_get_users_courses", userid=user, returnusercount=1) < few
    # A report looks at every enrolment, and makes a row of those on its page.
    assert lines("core_reportbuilder_retrieve_report", reportid=1, page=50, perpage=500) < 3 * 40_000
