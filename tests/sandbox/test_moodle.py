"""The Moodle simulator over HTTP: it answers as recorded, refuses as recorded, and stays consistent when changed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.moodle import MoodleSimulator
from tests.simulator_server import serving as serving_at

RECORDED = Path(__file__).parent / "recordings" / "moodle"
PACKAGED = files("lms_crm_assets.sandbox.moodle") / "recordings"
REQUESTS = [json.loads(line) for line in (RECORDED / "index.jsonl").read_text().splitlines()]
NOT_SIMULATED = {
    "course_contents",
    "enrolment_methods",
    "activities_completion_complete",
    "grade_overview_one_user",
    "gradeitems_course",
    "competency_report_user_course",
    "competency_user_summary_in_course",
    "user_plans",
    "course_updates_since",
}
# Recorded after somebody had changed course 2.
AFTER_A_CHANGE = {"users_courses_of_completed": {"summary": "<p>changed</p>", "timemodified": 1795474606}}
# `expired` is used up by the first of the two requests, so they run together.
IN_ORDER = {"err_expired_token", "err_expired_token_again"}


@contextmanager
def serving(simulator: MoodleSimulator) -> Iterator[httpx.Client]:
    """A client of the simulator on a free port."""
    with serving_at(simulator) as address, httpx.Client(base_url=address, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    with serving(MoodleSimulator(token="token")) as client:
        yield client


@pytest.fixture
def moodle(server: httpx.Client) -> httpx.Client:
    server.post("/_sandbox/reset").raise_for_status()
    return server


def call(client: httpx.Client, function: str, token: str = "token", **parameters: Any) -> Any:
    flat = flatten(parameters)
    return send(client, {"wsfunction": function, "moodlewsrestformat": "json", **flat}, token).json()


def send(client: httpx.Client, parameters: dict[str, Any], token: str | None, method: str = "POST") -> httpx.Response:
    given = parameters | ({"wstoken": token} if token else {})
    address = "/webservice/rest/server.php"
    return client.get(address, params=given) if method == "GET" else client.post(address, data=given)


def flatten(value: Any, name: str = "") -> dict[str, Any]:
    """`{"options": [{"name": "x"}]}` as `{"options[0][name]": "x"}`."""
    if not isinstance(value, dict | list):
        return {name: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found: dict[str, Any] = {}
    for key, item in pairs:
        found |= flatten(item, f"{name}[{key}]" if name else str(key))
    return found


def mutate(client: httpx.Client, kind: str, op: str, key: Any = None, **fields: Any) -> Any:
    name = {"key": key} if isinstance(key, str) else {"id": key}
    response = client.post("/_sandbox/mutate", json={"object": kind, "op": op, **name, "fields": fields})
    assert response.status_code == 200, response.text
    return response.json()


def report(client: httpx.Client, report_id: int, token: str = "token", *, page: int = 0, perpage: int = 500) -> Any:
    name = "core_reportbuilder_retrieve_report"
    return call(client, name, token, reportid=report_id, page=page, perpage=perpage)


def cells(client: httpx.Client, report_id: int) -> list[list[str]]:
    return [row["columns"] for row in report(client, report_id)["data"]["rows"]]


def set_filters(client: httpx.Client, report_id: int, values: Any) -> Any:
    values = json.dumps(values)
    return call(client, "core_reportbuilder_set_filters", reportid=report_id, values=values)


def recorded(name: str) -> Any:
    own = RECORDED / f"{name}.json"
    return json.loads(own.read_bytes() if own.exists() else (PACKAGED / f"{name}.json").read_bytes())


def timeless(value: Any) -> Any:
    """Without the second of the request, which Moodle keeps as a preference of the caller."""
    if isinstance(value, list):
        return [timeless(item) for item in value if not (isinstance(item, dict) and item.get("name") == "_lastloaded")]
    return {key: timeless(item) for key, item in value.items()} if isinstance(value, dict) else value


def enrolled(client: httpx.Client, course: int, **options: Any) -> Any:
    given = [{"name": name, "value": value} for name, value in options.items()]
    return call(client, "core_enrol_get_enrolled_users", courseid=course, options=given)


def by_field(client: httpx.Client, field: str, *values: Any) -> Any:
    return call(client, "core_user_get_users_by_field", field=field, values=list(values))


def search(client: httpx.Client, **criteria: Any) -> Any:
    given = [{"key": key, "value": value} for key, value in criteria.items()]
    return call(client, "core_user_get_users", criteria=given)


def completion(client: httpx.Client, course: int, user: int) -> Any:
    return call(client, "core_completion_get_course_completion_status", courseid=course, userid=user)


@pytest.mark.parametrize(
    "request_", [r for r in REQUESTS if r["name"] not in NOT_SIMULATED | IN_ORDER], ids=lambda r: r["name"]
)
def test_a_recorded_request_is_answered_as_recorded(moodle: httpx.Client, request_: dict[str, Any]) -> None:
    name = request_["name"]
    if name in AFTER_A_CHANGE:
        mutate(moodle, "courses", "update", 2, **AFTER_A_CHANGE[name])

    answer = send(moodle, request_["params"], request_["token"], request_["method"])

    assert answer.status_code == request_["status"]
    assert answer.headers["content-type"] == request_["content_type"]
    text = RECORDED / f"{name}.txt"
    if text.exists():
        assert answer.text == text.read_text()
    elif name in {"users_unknown_key", "users_by_field_id"}:
        assert timeless(answer.json()) == timeless(recorded(name))
    else:
        assert answer.json() == recorded(name)


def test_an_expired_token_is_refused_once_and_then_unknown(moodle: httpx.Client) -> None:
    for request in (r for r in REQUESTS if r["name"] in IN_ORDER):
        assert send(moodle, request["params"], request["token"]).json() == recorded(request["name"])


@pytest.mark.parametrize("request_", [r for r in REQUESTS if r["name"] in NOT_SIMULATED], ids=lambda r: r["name"])
def test_a_function_that_is_not_simulated_says_so(moodle: httpx.Client, request_: dict[str, Any]) -> None:
    answer = send(moodle, request_["params"], request_["token"])
    assert answer.status_code == 501
    assert request_["params"]["wsfunction"] in answer.text


def test_a_bearer_header_is_no_token(moodle: httpx.Client) -> None:
    answer = moodle.post(
        "/webservice/rest/server.php",
        data={"wsfunction": "core_webservice_get_site_info", "moodlewsrestformat": "json"},
        headers={"Authorization": "Bearer token"},
    )
    assert answer.json()["errorcode"] == "invalidtoken"


def test_without_a_format_a_result_is_xml(moodle: httpx.Client) -> None:
    answer = send(moodle, {"wsfunction": "core_enrol_get_users_courses", "userid": 8}, "token")
    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    assert '<KEY name="shortname"><VALUE>API301</VALUE>' in answer.text
    assert '<KEY name="lastaccess"><VALUE null="null"/>' in answer.text


def test_names_are_html_unless_raw_is_asked_for(moodle: httpx.Client) -> None:
    escaped = call(moodle, "core_course_get_courses")
    raw = call(moodle, "core_course_get_courses", moodlewssettingraw="true")
    assert [row["fullname"] for row in escaped if row["id"] == 4] == ["API &amp; integrations deep dive"]
    assert [row["fullname"] for row in raw if row["id"] == 4] == ["API & integrations deep dive"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"courseid": 2, "options": "x"},
        {"courseid": 2, "options": [{"name": "limitfrom"}]},
        {"courseid": 2, "options": [{"name": "limitfrom", "value": 1, "more": 1}]},
        {"courseid": "2.5"},
        {"courseid": {"id": 2}},
        {"courseid": 2, "options": [{"name": "sortby", "value": "email"}]},
    ],
)
def test_parameters_are_checked_strictly(moodle: httpx.Client, parameters: dict[str, Any]) -> None:
    answer = call(moodle, "core_enrol_get_enrolled_users", **parameters)
    assert answer["errorcode"] == "invalidparameter"


class TestUsers:
    def test_names_and_addresses_are_searched_like_sql(self, moodle: httpx.Client) -> None:
        assert [user["id"] for user in search(moodle, email="LEARNER0001@%")["users"]] == [5]
        assert [user["id"] for user in search(moodle, lastname="o'neil-_")["users"]] == list(range(5, 14))
        assert search(moodle, username="learner%")["users"] == []
        assert [user["id"] for user in search(moodle, id=7)["users"]] == [7]

    def test_a_search_key_may_come_once(self, moodle: httpx.Client) -> None:
        criteria = [{"key": "email", "value": "a%"}, {"key": "email", "value": "b%"}]
        assert call(moodle, "core_user_get_users", criteria=criteria)["errorcode"] == "keyalreadyset"

    def test_a_deleted_user_is_found_by_field_only_and_mangled(self, moodle: httpx.Client) -> None:
        (user,) = by_field(moodle, "id", 204)
        assert user["username"].startswith("learner0200@globex.test.17")
        assert len(user["email"]) == 32
        assert not {"deleted", "idnumber"} & user.keys()
        assert 204 not in {row["id"] for row in search(moodle, email="%")["users"]}
        assert all("learner0200" not in row[0] for row in cells(moodle, 2))

    def test_by_field_knows_four_fields(self, moodle: httpx.Client) -> None:
        assert by_field(moodle, "email", "learner0001@globex.test", "nobody@x.test")[0]["id"] == 5
        assert by_field(moodle, "lastname", "O'Neil-1")["errorcode"] == "invalidparameter"


class TestEnrolments:
    @pytest.mark.parametrize(("course", "number"), [(2, 199), (3, 100), (4, 67), (5, 50), (6, 40)])
    def test_active_and_suspended_make_all(self, moodle: httpx.Client, course: int, number: int) -> None:
        everyone = {user["id"] for user in enrolled(moodle, course)}
        active = {user["id"] for user in enrolled(moodle, course, onlyactive=1)}
        suspended = {user["id"] for user in enrolled(moodle, course, onlysuspended=1)}
        assert len(everyone) == number
        assert active | suspended == everyone
        assert not active & suspended

    def test_both_at_once_are_an_error(self, moodle: httpx.Client) -> None:
        assert enrolled(moodle, 2, onlyactive=1, onlysuspended=1)["errorcode"] == "codingerror"

    def test_pages_join_to_the_whole(self, moodle: httpx.Client) -> None:
        pages = [enrolled(moodle, 3, limitfrom=start, limitnumber=30, userfields="id") for start in range(0, 120, 30)]
        assert [len(page) for page in pages] == [30, 30, 30, 10]
        assert list(chain.from_iterable(pages)) == enrolled(moodle, 3, userfields="id")

    def test_options_are_read_as_php_reads_numbers(self, moodle: httpx.Client) -> None:
        assert len(enrolled(moodle, 3, limitfrom="x", limitnumber="7 people", onlysuspended=0)) == 7
        assert len(enrolled(moodle, 3, onlyactive="true")) == 75

    def test_the_order_can_be_chosen(self, moodle: httpx.Client) -> None:
        names = [user["lastname"] for user in enrolled(moodle, 5, sortby="lastname", sortdirection="DESC")]
        assert names == sorted(names, reverse=True)

    def test_users_courses_leave_out_suspended_expired_and_hidden(self, moodle: httpx.Client) -> None:
        rows = moodle.get("/_sandbox/records/enrolments").json()["records"]
        for user in {row["userid"] for row in rows}:
            wanted = {row["courseid"] for row in rows if row["userid"] == user and row["Status"] == "Active"} - {6}
            courses = call(moodle, "core_enrol_get_users_courses", userid=user)
            assert {course["id"] for course in courses} == wanted
        assert "enrolledusercount" not in call(moodle, "core_enrol_get_users_courses", userid=5, returnusercount=0)[0]

    def test_the_other_courses_have_the_recorded_shape(self, moodle: httpx.Client) -> None:
        courses = call(moodle, "core_course_get_courses_by_field")["courses"]
        shape = recorded("courses_by_field_idnumber")["courses"][0].keys()
        assert [course["id"] for course in courses] == [1, 6, 5, 4, 3, 2]
        assert all(course.keys() == shape for course in courses)
        found = call(moodle, "core_course_get_courses_by_field", field="idnumber", value="CRS-API301")["courses"]
        assert [(course["id"], course["visible"]) for course in found] == [(4, 1)]
        assert call(moodle, "core_course_get_courses_by_field", field="ids", value="3,6")["courses"][0]["visible"] == 0
        assert call(moodle, "core_course_get_courses_by_field", field="x", value="1")["errorcode"] == "invalidparameter"


class TestProgress:
    def test_completion_of_every_participant_agrees_with_the_report(self, moodle: httpx.Client) -> None:
        for row in moodle.get("/_sandbox/records/enrolments").json()["records"]:
            status = completion(moodle, row["courseid"], row["userid"])
            if row["Status"] == "Active":
                assert status["completionstatus"]["completed"] == (row["Completed"] == "Yes")
                met = sum(criterion["complete"] for criterion in status["completionstatus"]["completions"])
                assert f"{met * 50}.0%" == row["Student progress"]
            else:
                assert status["errorcode"] == "usernotenroled"

    def test_a_suspended_account_has_a_completion_and_a_deleted_one_has_none(self, moodle: httpx.Client) -> None:
        assert "completionstatus" in completion(moodle, 2, 54)
        assert completion(moodle, 2, 204)["errorcode"] == "userdeleted"
        assert completion(moodle, 99, 5)["errorcode"] == "invalidrecord"

    @pytest.mark.parametrize("course", [3, 4, 5, 6])
    def test_derived_grades_are_the_reports(self, moodle: httpx.Client, course: int) -> None:
        rows = moodle.get("/_sandbox/records/enrolments").json()["records"]
        wanted = {r["userid"]: r["Grade"] for r in rows if r["courseid"] == course and r["Status"] == "Active"}
        grades = call(moodle, "gradereport_user_get_grade_items", courseid=course)["usergrades"]
        shape = recorded("grade_items_one_user")["usergrades"][0]["gradeitems"][1].keys()
        assert {grade["userid"] for grade in grades} == wanted.keys()
        for grade in grades:
            (item,) = grade["gradeitems"]
            assert item.keys() == shape
            assert (item["itemtype"], item["itemname"]) == ("course", None)
            assert item["gradeformatted"] == (wanted[grade["userid"]] or "-")
            assert item["graderaw"] == (float(wanted[grade["userid"]]) if wanted[grade["userid"]] else None)

    def test_a_suspended_participant_has_no_grades(self, moodle: httpx.Client) -> None:
        assert call(moodle, "gradereport_user_get_grade_items", courseid=2, userid=7)["usergrades"] == []

    def test_competencies_of_the_other_courses(self, moodle: httpx.Client) -> None:
        linked = call(moodle, "core_competency_list_course_competencies", id=4)
        assert [item["competency"]["idnumber"] for item in linked] == ["CE-3", "CE-4"]
        assert linked[0].keys() == recorded("course_competencies")[0].keys()
        two = call(
            moodle,
            "core_competency_list_competencies",
            filters=[{"column": "competencyframeworkid", "value": 1}],
            sort="idnumber",
            order="DESC",
            skip=1,
            limit=2,
        )
        assert [row["idnumber"] for row in two] == ["CE-4", "CE-3"]


class TestReports:
    @pytest.mark.parametrize(("report_id", "number"), [(1, 466), (2, 202), (3, 374)])
    @pytest.mark.parametrize("perpage", [10, 100])
    def test_pages_join_to_all_rows(self, moodle: httpx.Client, report_id: int, number: int, perpage: int) -> None:
        rows = []
        for page in range(number // perpage + 2):
            answer = report(moodle, report_id, page=page, perpage=perpage)
            assert answer["data"]["totalrowcount"] == number
            rows += [tuple(row["columns"]) for row in answer["data"]["rows"]]
        assert sorted(rows, key=str) == sorted({tuple(row) for row in cells(moodle, report_id)}, key=str)

    def test_the_recorded_filter_gives_the_recorded_rows(self, moodle: httpx.Client) -> None:
        # Between the newest completion that was left out and the oldest that was kept.
        values = {"completion:timecompleted_operator": 3, "completion:timecompleted_from": 1795298000}
        assert set_filters(moodle, 1, values) is True
        assert report(moodle, 1) == recorded("report_participants_filtered_timecompleted_3d")

    def test_filters_persist_until_they_are_cleared_and_concern_one_report(self, moodle: httpx.Client) -> None:
        set_filters(moodle, 1, {"completion:timecompleted_operator": 3, "completion:timecompleted_from": 1795298000})
        assert [len(cells(moodle, 1)) for _ in range(2)] == [32, 32]
        assert len(cells(moodle, 2)) == 202
        set_filters(moodle, 1, {})
        assert len(cells(moodle, 1)) == 466
        set_filters(moodle, 1, {"completion:timecompleted_operator": 1})
        assert len(cells(moodle, 1)) == 218
        set_filters(moodle, 1, [])
        assert len(cells(moodle, 1)) == 466

    def test_a_new_filter_replaces_the_old_one_and_unknown_ones_are_ignored(self, moodle: httpx.Client) -> None:
        set_filters(moodle, 1, {"completion:timecompleted_operator": 1})
        set_filters(moodle, 1, {"enrolment:nothing_operator": 3, "enrolment:nothing_from": 1})
        assert len(cells(moodle, 1)) == 466

    def test_a_range_may_have_two_ends(self, moodle: httpx.Client) -> None:
        start, end = 1795298000, 1795384800
        values = {"completion:timecompleted_operator": 3, "completion:timecompleted_to": end}
        set_filters(moodle, 1, values | {"completion:timecompleted_from": start})
        between = len(cells(moodle, 1))
        set_filters(moodle, 1, values | {"completion:timecompleted_from": end, "completion:timecompleted_to": 0})
        assert between + len(cells(moodle, 1)) == 32
        assert between > 0

    def test_changed_users_are_found_by_timemodified(self, moodle: httpx.Client) -> None:
        set_filters(moodle, 2, {"user:timemodified_operator": 3, "user:timemodified_from": 1795474870})
        assert cells(moodle, 2) == []
        mutate(moodle, "users", "update", 5, lastname="<O'Neil & Co>")
        (row,) = cells(moodle, 2)
        assert row[0] == "learner0001"
        assert row[4] == "&lt;O&#039;Neil &amp; Co&gt;"

    def test_an_unknown_report_is_a_missing_record(self, moodle: httpx.Client) -> None:
        assert report(moodle, 9)["errorcode"] == "invalidrecord"

    def test_dates_are_local_and_to_the_minute(self, moodle: httpx.Client) -> None:
        summer, winter = 1783000859, 1799000000  # 2 July 2026, 15:00:59 BST; 3 January 2027, 18:13:20 GMT
        mutate(moodle, "enrolments", "update", "5:2", **{"Time started": summer, "Time ended": winter})
        (row,) = [row for row in cells(moodle, 1) if row[1] == "learner0001" and row[3] == "CRS-GS101"]
        assert row[8:10] == ["Thursday, 2 July 2026, 3:00 PM", "Sunday, 3 January 2027, 6:13 PM"]


class TestPoorToken:
    def test_it_is_answered_with_itself_alone_and_not_told(self, moodle: httpx.Client) -> None:
        everyone = [{"key": "email", "value": "%"}]
        users = call(moodle, "core_user_get_users", "poor", criteria=everyone)
        assert users == recorded("err_no_access_users")
        same = call(moodle, "core_user_get_users_by_field", "poor", field="id", values=[3, 4, 5, 204])
        assert [user["id"] for user in same] == [4]
        assert call(moodle, "core_webservice_get_site_info", "poor")["username"] == "svc_poor"
        assert call(moodle, "core_enrol_get_users_courses", "poor", userid=5) == []
        assert call(moodle, "core_course_get_courses_by_field", "poor")["courses"] == []
        assert call(moodle, "core_course_get_categories", "poor") == []

    def test_reports_and_competencies_are_refused(self, moodle: httpx.Client) -> None:
        assert report(moodle, 1, "poor")["errorcode"] == "errorreportview"
        assert call(moodle, "core_reportbuilder_list_reports", "poor")["errorcode"] == "errorreportaccess"
        frameworks = call(moodle, "core_competency_list_competency_frameworks", "poor", context={"contextid": 1})
        assert frameworks["errorcode"] == "nopermissions"
        listed = call(moodle, "core_competency_list_course_competencies", "poor", id=2)
        assert listed["errorcode"] == "requireloginerror"


class TestMutate:
    def test_a_changed_user_changes_in_all_answers(self, moodle: httpx.Client) -> None:
        mutate(moodle, "users", "update", 5, email="new@globex.test", lastname="Neu", idnumber=None, suspended=True)
        (user,) = by_field(moodle, "email", "new@globex.test")
        assert (user["fullname"], user["suspended"], "idnumber" in user) == ("Björn Neu", True, False)
        assert search(moodle, email="new@%")["users"] == [user]
        assert [row["fullname"] for row in enrolled(moodle, 2) if row["id"] == 5] == ["Björn Neu"]
        assert {tuple(row[:3]) for row in cells(moodle, 1) if row[1] == "learner0001"} == {
            ("", "learner0001", "new@globex.test")
        }
        assert [row[6] for row in cells(moodle, 2) if row[0] == "learner0001"] == ["Yes"]

    def test_a_new_user_takes_part(self, moodle: httpx.Client) -> None:
        user = mutate(
            moodle, "users", "create", username="u1", email="u1@x.test", firstname="Zoë", lastname="Ä", idnumber="E1"
        )
        assert user["id"] == 205
        assert by_field(moodle, "idnumber", "E1")[0]["fullname"] == "Zoë Ä"
        assert cells(moodle, 2)[-1][:3] == ["u1", "u1@x.test", "E1"]
        mutate(moodle, "enrolments", "create", userid=205, courseid=3)
        assert completion(moodle, 3, 205)["completionstatus"]["completed"] is False
        changed = {"Completed": "Yes", "Student progress": "100.0%", "Grade": "88.50"}
        row = mutate(moodle, "enrolments", "update", "205:3", **changed)
        assert row["Time completed"]
        assert completion(moodle, 3, 205)["completionstatus"]["completed"] is True
        (grade,) = call(moodle, "gradereport_user_get_grade_items", courseid=3, userid=205)["usergrades"]
        assert grade["gradeitems"][0]["graderaw"] == 88.5
        (course,) = call(moodle, "core_enrol_get_users_courses", userid=205)
        assert (course["progress"], course["completed"], course["enrolledusercount"]) == (100, True, 101)
        set_filters(moodle, 1, {"completion:timecompleted_operator": 3, "completion:timecompleted_from": 1795474870})
        assert [r[1] for r in cells(moodle, 1)] == ["u1"]

    def test_a_deleted_user_is_gone_but_by_field(self, moodle: httpx.Client) -> None:
        mutate(moodle, "users", "delete", 5)
        (user,) = by_field(moodle, "id", 5)
        assert user["username"].startswith("learner0001@globex.test.")
        assert (len(user["email"]), "idnumber" in user) == (32, False)
        assert 5 not in {row["id"] for row in search(moodle, email="%")["users"]}
        assert 5 not in {row["id"] for row in enrolled(moodle, 2)}
        assert call(moodle, "core_enrol_get_users_courses", userid=5) == []
        for report_id, position in ((1, 1), (2, 0), (3, 3)):
            assert "learner0001" not in {row[position] for row in cells(moodle, report_id)}
        assert report(moodle, 1)["data"]["totalrowcount"] == 461
        again = moodle.post("/_sandbox/mutate", json={"object": "users", "op": "delete", "id": 5})
        assert again.status_code == 400

    def test_a_suspended_enrolment_moves_to_the_suspended(self, moodle: httpx.Client) -> None:
        mutate(moodle, "enrolments", "update", "5:2", Status="Suspended")
        assert 5 in {user["id"] for user in enrolled(moodle, 2, onlysuspended=1)}
        assert completion(moodle, 2, 5)["errorcode"] == "usernotenroled"
        assert 2 not in {course["id"] for course in call(moodle, "core_enrol_get_users_courses", userid=5)}
        mutate(moodle, "enrolments", "delete", "5:2")
        assert 5 not in {user["id"] for user in enrolled(moodle, 2)}

    def test_a_changed_grade_of_the_recorded_course_is_shown(self, moodle: httpx.Client) -> None:
        mutate(moodle, "enrolments", "update", "5:2", Grade="12.00")
        (grade,) = call(moodle, "gradereport_user_get_grade_items", courseid=2, userid=5)["usergrades"]
        assert [(item["itemtype"], item["graderaw"]) for item in grade["gradeitems"]] == [("course", 12)]

    def test_courses_come_change_and_go(self, moodle: httpx.Client) -> None:
        course = mutate(moodle, "courses", "create", shortname="NEW1", fullname="<New> & old", idnumber="CRS-NEW1")
        assert course["id"] == 7
        (row,) = [row for row in call(moodle, "core_course_get_courses") if row["id"] == 7]
        assert row["fullname"] == "&lt;New&gt; &amp; old"
        assert call(moodle, "core_course_get_categories")[1]["coursecount"] == 6
        mutate(moodle, "courses", "update", 2, fullname="Begin here", visible=0)
        assert 2 not in {row["id"] for row in call(moodle, "core_enrol_get_users_courses", userid=5)}
        (row,) = call(moodle, "core_course_get_courses_by_field", field="id", value=2)["courses"]
        assert (row["displayname"], row["visible"]) == ("Begin here", 0)
        mutate(moodle, "courses", "delete", 2)
        assert enrolled(moodle, 2)["errorcode"] == "invalidrecord"
        assert "CRS-GS101" not in {row[3] for row in cells(moodle, 1)}

    def test_ratings_come_change_and_go(self, moodle: httpx.Client) -> None:
        mutate(moodle, "competencies", "update", "5:CE-2", proficient="Yes", rating="Competent")
        found = {(row[1], row[5], row[6]) for row in cells(moodle, 3) if row[3] == "learner0001"}
        assert ("CE-2", "Yes", "Competent") in found
        mutate(moodle, "competencies", "delete", "5:CE-2")
        mutate(moodle, "competencies", "create", userid=7, competency_idnumber="CE-5", rating="Competent")
        assert report(moodle, 3)["data"]["totalrowcount"] == 374
        assert ["CE-FW", "CE-5", "Reporting", "learner0003", "Idle", "", "Competent"] in cells(moodle, 3)

    @pytest.mark.parametrize(
        "change",
        [
            {"object": "users", "op": "rename", "id": 5},
            {"object": "grades", "op": "update", "id": 5},
            {"object": "users", "op": "update", "id": 999, "fields": {}},
            {"object": "users", "op": "update", "id": "x", "fields": {}},
            {"object": "users", "op": "create", "fields": {"username": "only"}},
            {"object": "enrolments", "op": "create", "fields": {"userid": 5, "courseid": 2}},
            {"object": "enrolments", "op": "create", "fields": {"userid": 204, "courseid": 2}},
            {"object": "enrolments", "op": "update", "key": "5:2", "fields": {"Time ended": "soon"}},
            {"object": "enrolments", "op": "update", "key": "5:2", "fields": {"Grade": "good"}},
            {"object": "enrolments", "op": "update", "key": "5:2", "fields": {"status": "Active"}},
            {"object": "competencies", "op": "delete", "key": "5:CE-9"},
        ],
    )
    def test_a_change_that_makes_no_sense_is_refused(self, moodle: httpx.Client, change: dict[str, Any]) -> None:
        assert moodle.post("/_sandbox/mutate", json=change).status_code == 400


class TestControl:
    @pytest.mark.parametrize(
        ("kind", "number"), [("users", 204), ("courses", 6), ("enrolments", 456), ("competencies", 374)]
    )
    def test_records_are_all_there(self, moodle: httpx.Client, kind: str, number: int) -> None:
        assert moodle.get(f"/_sandbox/records/{kind}").json()["total"] == number

    def test_records_carry_what_joins_them(self, moodle: httpx.Client) -> None:
        row = moodle.get("/_sandbox/records/enrolments").json()["records"][0]
        assert (row["userid"], row["courseid"], row["Username"], row["Grade"]) == (5, 2, "learner0001", "71.80")
        rating = moodle.get("/_sandbox/records/competencies").json()["records"][1]
        wanted = {"framework_idnumber", "competency_idnumber", "name", "username", "status", "proficient", "rating"}
        assert rating.keys() == wanted | {"userid"}
        assert moodle.get("/_sandbox/records/grades").status_code == 400

    def test_maintenance_is_a_fault(self, moodle: httpx.Client) -> None:
        head, body = (RECORDED / "err_maintenance.txt").read_text().split("\n", 1)
        fault = {"route": "server.php", "kind": "status", "status": int(head.split()[1]), "body": body, "times": 1}
        moodle.post("/_sandbox/faults", json=[fault | {"headers": {"content-type": "text/html; charset=utf-8"}}])
        answer = send(moodle, {"wsfunction": "core_course_get_courses"}, "token")
        assert (answer.status_code, answer.text) == (503, body)
        stats = moodle.get("/_sandbox/stats").json()["requests"]
        assert stats == {"POST /webservice/rest/server.php": {"503": 1}}

    def test_fewer_lists_the_same_tenth_of_users_and_report_rows(self, moodle: httpx.Client) -> None:
        def shown() -> list[list[Any]]:
            everyone = call(moodle, "core_user_get_users", criteria=[{"key": "email", "value": "%"}])["users"]
            courses = call(moodle, "core_course_get_courses")
            return [[user["id"] for user in everyone], cells(moodle, 1), [course["id"] for course in courses]]

        every = shown()
        fault = {"route": "server.php", "kind": "fewer", "rows": 0.1}
        moodle.post("/_sandbox/faults", json=[fault]).raise_for_status()
        few = shown()
        assert few == shown()
        for all_rows, rows in zip(every[:2], few[:2], strict=True):
            assert 0.05 < len(rows) / len(all_rows) < 0.15
            assert [row for row in all_rows if row in rows] == rows
        assert len(few[2]) < len(every[2])
        assert report(moodle, 1)["data"]["totalrowcount"] == len(few[1])
        assert by_field(moodle, "id", 5)[0]["username"] == "learner0001"
        moodle.post("/_sandbox/faults", json=[]).raise_for_status()
        assert shown() == every

    def test_reset_takes_only_known_options(self, moodle: httpx.Client) -> None:
        assert moodle.post("/_sandbox/reset", json={"seed": 1}).status_code == 400
        mutate(moodle, "users", "delete", 5)
        moodle.post("/_sandbox/reset", json={"latency_seconds": 0.05})
        started = time.monotonic()
        assert by_field(moodle, "id", 5)[0]["username"] == "learner0001"
        assert time.monotonic() - started >= 0.05
        moodle.post("/_sandbox/reset", json={"latency_seconds": 0})

    def test_a_dump_is_json_and_brings_everything_back(self) -> None:
        first, second = MoodleSimulator(), MoodleSimulator()
        first.mutate({"object": "users", "op": "delete", "id": 5})
        first.mutate({"object": "courses", "op": "update", "id": 3, "fields": {"fullname": "x"}})
        second.load(json.loads(json.dumps(first.dump())))
        assert second.dump() == first.dump()
        for kind in ("users", "courses", "enrolments", "competencies"):
            assert list(second.records(kind)) == list(first.records(kind))
