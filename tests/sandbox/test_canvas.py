"""The simulated Canvas over HTTP: its wire behaviour, what it makes of a school's rows, and a client that others wrote."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from canvasapi import Canvas
from canvasapi.exceptions import Forbidden, InvalidAccessToken, RateLimitExceeded, ResourceDoesNotExist

from lms_crm_assets.sandbox.canvas import CanvasSimulator
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from tests.simulator_server import serving

TOKEN = "sandbox-canvas-token"
ALL_STATES = ["active", "invited", "creation_pending", "completed", "inactive", "deleted"]
REFRESH = {
    "grant_type": "refresh_token",
    "client_id": "sandbox-client",
    "client_secret": "sandbox-secret",
    "refresh_token": "sandbox-canvas-refresh",
}
COURSE_PATHS = ["", "/enrollments", "/bulk_user_progress", "/students/submissions", "/assignments"]
COURSE_PATHS += ["/outcome_results", "/outcome_rollups"]
ROOTS = {"outcome_results": "outcome_results", "outcome_rollups": "rollups"}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    # Enough rows that each kind of bad one is there.
    with serving(CanvasSimulator(learners=1000, courses=4, enrollments=3000)) as found:
        yield found


@pytest.fixture
def api(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120) as client:
        client.post("/_sandbox/reset").raise_for_status()
        client.post("/_sandbox/faults", json=[]).raise_for_status()
        yield client


@pytest.fixture
def canvas(api: httpx.Client) -> Canvas:
    return Canvas(str(api.base_url).rstrip("/"), TOKEN)


@pytest.fixture(scope="module")
def school() -> dict[str, Rows]:
    """The rows that the site serves, as the school has them."""
    simulator = CanvasSimulator(learners=1000, courses=4, enrollments=3000)
    kinds = ("learners", "courses", "enrollments", "completions", "scores", "competencies")
    return {kind: simulator.records(kind) for kind in kinds}


def get(api: httpx.Client, path: str, **query: Any) -> Any:
    response = api.get(f"/api/v1{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def pages(api: httpx.Client, path: str, **query: Any) -> Rows:
    """All items, by the Link header."""
    root = ROOTS.get(path.rpartition("/")[2])
    found: Rows = []
    response = api.get(f"/api/v1{path}", params={"per_page": 100, **query})
    while True:
        assert response.status_code == 200, response.text
        body = response.json()
        found += body[root] if root else body
        if "next" not in response.links:
            return found
        response = api.get(response.links["next"]["url"])


def mutate(api: httpx.Client, entity: str, op: str, **change: Any) -> Any:
    response = api.post("/_sandbox/mutate", json={"object": entity, "op": op, **change})
    assert response.status_code == 200, response.text
    return response.json()


class TestAuthentication:
    def test_an_unknown_token_is_challenged(self, address: str) -> None:
        response = httpx.get(f"{address}/api/v1/users/self", headers={"Authorization": "Bearer wrong"})
        assert response.status_code == 401
        assert response.json() == {"errors": [{"message": "Invalid access token."}]}
        assert response.headers["www-authenticate"] == 'Bearer realm="canvas-lms"'

    def test_no_token_is_another_error(self, address: str) -> None:
        response = httpx.get(f"{address}/api/v1/accounts/1/users")
        assert response.status_code == 401
        assert response.json()["status"] == "unauthenticated"

    def test_a_token_may_stand_in_the_query_and_not_in_the_links(self, address: str) -> None:
        query = {"access_token": TOKEN, "per_page": "3"}
        response = httpx.get(f"{address}/api/v1/accounts/self/users", params=query)
        assert response.status_code == 200
        assert "access_token" not in response.headers["link"]

    def test_a_refresh_gives_a_token_for_an_hour_and_no_new_refresh_token(self, api: httpx.Client) -> None:
        granted = api.post("/login/oauth2/token", data=REFRESH).json()
        assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 3600)
        assert "refresh_token" not in granted
        headers = {"Authorization": f"Bearer {granted['access_token']}"}
        assert api.get("/api/v1/users/self", headers=headers).json()["id"] == granted["user"]["id"]

    def test_a_refreshed_token_ends(self, api: httpx.Client) -> None:
        api.post("/_sandbox/options", json={"token_calls": 2}).raise_for_status()
        granted = api.post("/login/oauth2/token", data=REFRESH).json()
        headers = {"Authorization": f"Bearer {granted['access_token']}"}
        statuses = [api.get("/api/v1/users/self", headers=headers).status_code for _ in range(3)]
        assert statuses == [200, 200, 401]
        api.post("/_sandbox/options", json={"token_calls": None, "token_seconds": 0}).raise_for_status()
        granted = api.post("/login/oauth2/token", data=REFRESH).json()
        headers = {"Authorization": f"Bearer {granted['access_token']}"}
        assert api.get("/api/v1/users/self", headers=headers).status_code == 401

    @pytest.mark.parametrize(
        ("change", "status", "error"),
        [
            ({"client_id": "other"}, 401, "invalid_client"),
            ({"client_secret": "other"}, 401, "invalid_client"),
            ({"refresh_token": "other"}, 400, "invalid_grant"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ],
    )
    def test_a_wrong_refresh_is_told(self, api: httpx.Client, change: dict[str, str], status: int, error: str) -> None:
        response = api.post("/login/oauth2/token", data=REFRESH | change)
        assert (response.status_code, response.json()["error"]) == (status, error)

    def test_a_poor_token_is_refused_users_and_sees_itself_alone_in_courses(self, api: httpx.Client) -> None:
        poor = {"Authorization": "Bearer poor"}
        for path in ("/accounts/1", "/accounts/1/users", "/accounts/1/courses", "/courses/1/bulk_user_progress"):
            response = api.get(f"/api/v1{path}", headers=poor)
            assert response.status_code == 403
            message = "user not authorized to perform that action"
            assert response.json() == {"status": "unauthorized", "errors": [{"message": message}]}
        own = api.get("/api/v1/users/self", headers=poor).json()
        listing = api.get("/api/v1/courses/1/enrollments", headers=poor)
        assert [row["user_id"] for row in listing.json()] == [own["id"]]
        query = {"student_ids[]": "all"}
        assert api.get("/api/v1/courses/1/students/submissions", headers=poor, params=query).json() == []
        assert api.get("/api/v1/courses/1/outcome_results", headers=poor).json()["outcome_results"] == []


class TestPaging:
    def test_ten_by_default_and_a_hundred_at_most(self, api: httpx.Client) -> None:
        assert len(get(api, "/courses/1/enrollments")) == 10
        assert len(get(api, "/courses/1/enrollments", per_page=500)) == 100
        assert len(get(api, "/accounts/1/users", per_page=0)) == 1

    @pytest.mark.parametrize("path", ["/accounts/1/users", "/courses/1/enrollments"])
    def test_bookmarks_are_opaque_and_keep_the_query(self, api: httpx.Client, path: str) -> None:
        response = api.get(f"/api/v1{path}", params={"include[]": "email", "per_page": 7})
        assert set(response.links) == {"current", "next", "first"}
        following = httpx.URL(response.links["next"]["url"])
        assert following.params["page"].startswith("bookmark:")
        assert (following.params["include[]"], following.params["per_page"]) == ("email", "7")
        small = [row["id"] for row in pages(api, path, per_page=7)]
        assert small == [row["id"] for row in pages(api, path)]
        assert len(set(small)) == len(small)

    def test_courses_have_numbered_pages(self, api: httpx.Client) -> None:
        response = api.get("/api/v1/accounts/1/courses", params={"per_page": 3})
        assert set(response.links) == {"current", "next", "first", "last"}
        assert [row["id"] for row in pages(api, "/accounts/1/courses", per_page=3)] == [1, 2, 3, 4]

    @pytest.mark.parametrize("page", ["bookmark:", "bookmark:abc", "bookmark:WzFd", "2", "xbookmark:WzAsImEiXQ"])
    def test_a_page_that_is_no_bookmark_is_not_found(self, api: httpx.Client, page: str) -> None:
        assert api.get("/api/v1/courses/1/enrollments", params={"page": page}).status_code == 404

    @pytest.mark.parametrize("path", ["/courses/99", "/courses/x", "/users/99999", "/accounts/2", "/nothing"])
    def test_what_is_not_there_is_404(self, api: httpx.Client, path: str) -> None:
        response = api.get(f"/api/v1{path}")
        assert response.status_code == 404
        assert response.json() == {"errors": [{"message": "The specified resource does not exist."}]}

    def test_ids_are_text_for_clients_that_ask(self, api: httpx.Client) -> None:
        headers = {"Accept": "application/json+canvas-string-ids"}
        row = api.get("/api/v1/courses/1/enrollments", headers=headers).json()[0]
        assert {type(row[name]) for name in ("id", "user_id", "course_id")} == {str}
        assert type(row["user"]["id"]) is str


class TestThrottling:
    def test_it_is_off_at_first(self, api: httpx.Client) -> None:
        response = api.get("/api/v1/users/self")
        assert response.headers["x-request-cost"] == "1.0"
        assert "x-rate-limit-remaining" not in response.headers

    @pytest.mark.parametrize(("status", "phrase"), [(403, "Forbidden"), (429, "Too Many Requests")])
    def test_a_full_bucket_refuses_in_plain_text(self, api: httpx.Client, status: int, phrase: str) -> None:
        options = {"rate_limit": 100, "rate_limit_outflow": 20, "request_cost": 20, "rate_limit_status": status}
        api.post("/_sandbox/options", json=options).raise_for_status()
        answers = [api.get("/api/v1/users/self") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, status, status]
        assert answers[3].text == f"{status} {phrase} (Rate Limit Exceeded)\n"
        assert answers[3].headers["content-type"].startswith("text/plain")
        assert "x-request-cost" not in answers[3].headers
        assert 75 < float(answers[0].headers["x-rate-limit-remaining"]) <= 80.5
        assert api.get("/api/v1/users/self", headers={"Authorization": "Bearer poor"}).status_code == 200
        time.sleep(1)
        assert api.get("/api/v1/users/self").status_code == 200

    def test_parallel_requests_weigh_more(self, api: httpx.Client) -> None:
        api.post("/_sandbox/options", json={"rate_limit": 120, "latency_seconds": 0.3}).raise_for_status()
        with ThreadPoolExecutor(6) as pool:
            statuses = Counter(pool.map(lambda _: api.get("/api/v1/users/self").status_code, range(6)))
        assert set(statuses) == {200, 403}
        assert api.get("/api/v1/users/self").status_code == 200


class TestUsersAndCourses:
    def test_all_users_but_deleted_ones_are_listed(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        learners = {integer_id(row["id"]): row for row in school["learners"] if row["status"] != "deleted"}
        users = pages(api, "/accounts/self/users", **{"include[]": "email"})
        assert [user["id"] for user in users] == sorted(learners)
        for user in users:
            row = learners[user["id"]]
            assert (user["sis_user_id"], user["login_id"], user["email"]) == (row["id"], row["username"], row["email"])
            assert user["name"] == f"{row['given_name']} {row['family_name']}"
            assert user["sortable_name"] == f"{row['family_name']}, {row['given_name']}"
        assert "email" not in get(api, "/accounts/1/users")[0]

    def test_a_user_by_its_number_its_sis_id_and_its_profile(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        row = next(row for row in school["learners"] if row["status"] == "suspended")
        number = integer_id(row["id"])
        user = get(api, f"/users/{number}")
        assert user == get(api, f"/users/sis_user_id:{row['id']}")
        assert user["email"] == get(api, f"/users/{number}/profile")["primary_email"] == row["email"]
        assert get(api, f"/users/{number}/logins")[0]["workflow_state"] == "suspended"
        gone = next(row for row in school["learners"] if row["status"] == "deleted")
        assert api.get(f"/api/v1/users/{integer_id(gone['id'])}").status_code == 404

    def test_users_are_searched(self, api: httpx.Client) -> None:
        first = get(api, "/accounts/1/users", per_page=1)[0]
        found = get(api, "/accounts/1/users", search_term=first["login_id"].upper())
        assert first["id"] in [user["id"] for user in found]
        assert api.get("/api/v1/accounts/1/users", params={"search_term": "a"}).status_code == 400

    def test_courses_are_plain_text_with_their_states(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        courses = get(api, "/accounts/1/courses", **{"include[]": "term"})
        for course, row in zip(courses, school["courses"], strict=True):
            assert (course["sis_course_id"], course["course_code"]) == (row["id"], row["code"])
            assert (course["name"], course["start_at"]) == (row["title"], row["starts_at"])
            assert course["term"]["name"] == "Default Term"
        mutate(api, "courses", "update", id="crs-0000002", fields={"visible": False, "title": "<b>&"})
        hidden = get(api, "/accounts/1/courses", **{"state[]": "unpublished"})
        assert 2 in [course["id"] for course in hidden]
        assert get(api, "/courses/2")["name"] == "<b>&"


class TestEnrollments:
    def test_states_types_and_dates(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        deleted = {row["id"] for row in school["learners"] if row["status"] == "deleted"}
        states = {"suspended": "inactive", "expired": "completed", "withdrawn": "deleted", "completed": "active"}
        states |= {"active": "active", "invited": "invited", "pending_payment": "creation_pending"}
        rows = {integer_id(row["id"]): row for row in school["enrollments"] if "gone" not in row["course_id"]}
        query = {"state[]": ALL_STATES}
        found = [row for course in range(1, 5) for row in pages(api, f"/courses/{course}/enrollments", **query)]
        assert sorted(each["id"] for each in found) == sorted(rows)
        for each in found:
            row = rows[each["id"]]
            state = "deleted" if row["learner_id"] in deleted else states[row["status"]]
            assert each["enrollment_state"] == state
            assert (each["user_id"], each["course_id"]) == tuple(
                integer_id(row[name]) for name in ("learner_id", "course_id")
            )
            assert (
                each["type"]
                == each["role"]
                == ("TeacherEnrollment" if row["role"] == "teacher" else "StudentEnrollment")
            )
            dates = [each[name] for name in ("created_at", "start_at", "end_at", "updated_at")]
            assert dates == [row[name] for name in ("enrolled_at", "starts_at", "ends_at", "updated_at")]
        assert {each["enrollment_state"] for each in found} == set(ALL_STATES)

    def test_without_state_concluded_and_deleted_ones_are_left_out(self, api: httpx.Client) -> None:
        states = Counter(row["enrollment_state"] for row in pages(api, "/courses/1/enrollments"))
        assert set(states) == {"active", "invited", "inactive", "creation_pending"}
        only = pages(api, "/courses/1/enrollments", **{"state[]": ["active", "invited"]})
        assert len(only) == states["active"] + states["invited"]

    def test_filters_by_type_and_by_user(self, api: httpx.Client) -> None:
        teachers = pages(api, "/courses/1/enrollments", **{"type[]": "TeacherEnrollment"})
        assert teachers
        assert all("grades" not in row for row in teachers)
        user = teachers[0]["user_id"]
        assert pages(api, "/courses/1/enrollments", user_id=user) == teachers[:1]
        assert teachers[0] in pages(api, f"/users/{user}/enrollments", **{"state[]": ALL_STATES})

    def test_an_enrollment_of_an_unknown_course_is_found_by_its_user(
        self, api: httpx.Client, school: dict[str, Rows]
    ) -> None:
        deleted = {row["id"] for row in school["learners"] if row["status"] == "deleted"}
        row = next(
            row for row in school["enrollments"] if "gone" in row["course_id"] and row["learner_id"] not in deleted
        )
        found = get(api, f"/users/{integer_id(row['learner_id'])}/enrollments", per_page=100)
        gone = next(each for each in found if each["id"] == integer_id(row["id"]))
        assert (gone["enrollment_state"], gone["sis_course_id"]) == ("deleted", None)
        assert api.get(f"/api/v1/courses/{gone['course_id']}").status_code == 404

    def test_course_scores_are_grades(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        totals = {
            (integer_id(row["learner_id"]), integer_id(row["course_id"])): row["raw"]
            for row in school["scores"]
            if row["item_type"] == "course"
        }
        query = {"state[]": ALL_STATES, "type[]": "StudentEnrollment"}
        seen = Counter[str]()
        for course in range(1, 5):
            for row in pages(api, f"/courses/{course}/enrollments", **query):
                raw, grades = totals.get((row["user_id"], course)), row["grades"]
                is_text = isinstance(raw, str)
                assert grades["current_score"] == grades["final_score"] == (None if is_text else raw)
                assert grades["current_grade"] == (raw if is_text else None)
                seen["text" if is_text else "none" if raw is None else "above" if raw > 100 else "number"] += 1
        assert set(seen) == {"text", "none", "above", "number"}

    def test_changes_are_seen(self, api: httpx.Client) -> None:
        row = get(api, "/courses/1/enrollments", **{"state[]": "active"})[0]
        row_id = f"enr-{row['id']:07d}"
        mutate(api, "enrollments", "update", id=row_id, fields={"course_id": "crs-0000002", "status": "suspended"})
        query = {"state[]": ALL_STATES}
        assert row["id"] not in [each["id"] for each in pages(api, "/courses/1/enrollments", **query)]
        moved = next(each for each in pages(api, "/courses/2/enrollments") if each["id"] == row["id"])
        assert moved["enrollment_state"] == "inactive"
        mutate(api, "enrollments", "delete", id=row_id)
        assert row["id"] not in [each["id"] for each in pages(api, "/courses/2/enrollments", **query)]


class TestProgress:
    def test_completions_of_active_students(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        completions = {(row["learner_id"], row["course_id"]): row for row in school["completions"]}
        active = pages(api, "/courses/3/enrollments", **{"state[]": "active", "type[]": "StudentEnrollment"})
        found = {row["id"]: row["progress"] for row in pages(api, "/courses/3/bulk_user_progress")}
        assert set(found) == {row["user_id"] for row in active}
        for number, progress in found.items():
            row = completions[f"lrn-{number:07d}", "crs-0000003"]
            assert progress["requirement_count"] == 100
            assert progress["requirement_completed_count"] == row["progress_pct"]
            assert progress["completed_at"] == row["completed_at"]
            assert get(api, f"/courses/3/users/{number}/progress") == progress if number % 40 == 0 else True

    def test_a_user_who_is_no_student_has_no_progress(self, api: httpx.Client) -> None:
        teacher = get(api, "/courses/1/enrollments", **{"type[]": "TeacherEnrollment"})[0]
        response = api.get(f"/api/v1/courses/1/users/{teacher['user_id']}/progress")
        assert response.status_code == 400
        assert response.json()["error"]["message"].startswith("no progress available")


class TestSubmissions:
    PATH = "/courses/1/students/submissions"

    def test_there_is_one_for_each_student_and_assignment(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        assignments = {row["id"]: row["name"] for row in get(api, "/courses/1/assignments")}
        assert sorted(assignments) == [101, 102, 103, 104, 105]
        states = {"state[]": ["active", "inactive", "completed"], "type[]": "StudentEnrollment"}
        users = {row["user_id"] for row in pages(api, "/courses/1/enrollments", **states)}
        found = pages(api, self.PATH, **{"student_ids[]": "all"})
        assert Counter((row["user_id"], row["assignment_id"]) for row in found) == Counter(
            (user, assignment) for user in users for assignment in assignments
        )
        assert len({row["id"] for row in found}) == len(found)
        graded = [row for row in found if row["workflow_state"] == "graded"]
        scores = {
            (integer_id(row["learner_id"]), 100 + int(row["item_id"][-1])): (row["raw"], row["graded_at"])
            for row in school["scores"]
            if row["item_type"] == "activity" and row["course_id"] == "crs-0000001"
        }
        expected = {pair: score for pair, score in scores.items() if pair[0] in users}
        assert {(row["user_id"], row["assignment_id"]): (row["score"], row["graded_at"]) for row in graded} == expected
        assert all(row["score"] is None for row in found if row["workflow_state"] == "unsubmitted")
        only = pages(api, self.PATH, **{"student_ids[]": "all", "workflow_state": "graded", "per_page": 7})
        assert sorted(row["id"] for row in only) == sorted(row["id"] for row in graded)

    def test_since_is_exclusive(self, api: httpx.Client) -> None:
        query = {"student_ids[]": "all", "workflow_state": "graded"}
        moments = sorted(row["graded_at"] for row in pages(api, self.PATH, **query))
        middle = moments[len(moments) // 2]
        for name in ("graded_since", "submitted_since"):
            later = pages(api, self.PATH, **{"student_ids[]": "all", name: middle})
            assert sorted(row["graded_at"] for row in later) == [moment for moment in moments if moment > middle]
        wrong = {"student_ids[]": "all", "graded_since": "yesterday"}
        assert api.get(f"/api/v1{self.PATH}", params=wrong).status_code == 400

    def test_without_students_there_are_ones_own_alone(self, api: httpx.Client) -> None:
        assert get(api, self.PATH) == []


class TestOutcomes:
    def test_ratings_are_results(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        ratings = {integer_id(row["id"]): row for row in school["competencies"] if row["course_id"] == "crs-0000002"}
        states = {"state[]": ["active", "inactive", "completed"], "type[]": "StudentEnrollment"}
        users = {row["user_id"] for row in pages(api, "/courses/2/enrollments", **states)}
        results = pages(api, "/courses/2/outcome_results")
        expected = {number for number, row in ratings.items() if integer_id(row["learner_id"]) in users}
        assert {row["id"] for row in results} == expected
        for result in results:
            row = ratings[result["id"]]
            assert (result["mastery"], result["submitted_or_assessed_at"]) == (row["proficient"], row["rated_at"])
            assert result["score"] == (3.0 if row["proficient"] else 0.0)
            assert result["links"]["user"] == str(integer_id(row["learner_id"]))

    def test_linked_things_come_when_asked_for(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        assert "linked" not in get(api, "/courses/2/outcome_results")
        query = {"include[]": ["outcomes", "outcome_paths", "outcome_groups", "users"]}
        answer = get(api, "/courses/2/outcome_results", **query)
        [outcome], [path], [group] = (
            answer["linked"][name] for name in ("outcomes", "outcome_paths", "outcome_groups")
        )
        competency = next(row["competency"] for row in school["competencies"] if row["course_id"] == "crs-0000002")
        assert (outcome["vendor_guid"], outcome["title"]) == (competency["code"], competency["name"])
        assert path == {"id": outcome["id"], "parts": [{"name": competency["framework"]}]}
        assert group["title"] == competency["framework"]
        assert group["id"] in [each["id"] for each in get(api, "/accounts/1/outcome_groups")]
        assert len(answer["linked"]["users"]) == len(answer["outcome_results"])
        assert api.get("/api/v1/courses/2/outcome_results", params={"include[]": "x"}).status_code == 400

    def test_rollups_hold_every_student(self, api: httpx.Client) -> None:
        rollups = pages(api, "/courses/2/outcome_rollups")
        results = pages(api, "/courses/2/outcome_results")
        scores = {
            (rollup["links"]["user"], score["links"]["outcome"], score["score"])
            for rollup in rollups
            for score in rollup["scores"]
        }
        assert scores == {(row["links"]["user"], row["links"]["learning_outcome"], row["score"]) for row in results}
        assert len(rollups) > len(scores)


class TestControl:
    def test_fewer_lists_a_tenth(self, api: httpx.Client) -> None:
        every = pages(api, "/courses/1/enrollments")
        users = pages(api, "/accounts/1/users")
        api.post("/_sandbox/faults", json=[{"route": "/api/v1", "kind": "fewer", "rows": 0.1}]).raise_for_status()
        few = pages(api, "/courses/1/enrollments")
        assert 0.05 < len(few) / len(every) < 0.15
        assert [row for row in every if row in few] == few
        assert 0.05 < len(pages(api, "/accounts/1/users")) / len(users) < 0.15

    @pytest.mark.parametrize("options", [{"rate_limit_status": 404}, {"token_calls": 0}, {"nothing": 1}])
    def test_wrong_options_are_refused(self, api: httpx.Client, options: dict[str, Any]) -> None:
        for route in ("reset", "options"):
            assert api.post(f"/_sandbox/{route}", json=options).status_code == 400

    def test_rows_made_without_attributes_break_no_listing(self, api: httpx.Client) -> None:
        learner = mutate(api, "learners", "create")["id"]
        course = mutate(api, "courses", "create")["id"]
        for entity in ("enrollments", "completions", "scores", "competencies"):
            for fields in (
                {},
                {"learner_id": learner},
                {"course_id": course},
                {"learner_id": learner, "course_id": course},
                {"learner_id": learner, "course_id": "by hand"},
            ):
                mutate(api, entity, "create", fields=fields)
        of_course = [f"/courses/{integer_id(course)}{path}" for path in COURSE_PATHS]
        of_learner = [f"/users/{integer_id(learner)}{path}" for path in ("", "/profile", "/logins", "/enrollments")]
        for path in ["/accounts/1/courses", "/accounts/1/users", *of_course, *of_learner]:
            query = {"student_ids[]": "all", "include[]": "users"} if "outcome" in path else {"student_ids[]": "all"}
            assert get(api, path, per_page=100, **query), path
        assert [row["enrollment_state"] for row in pages(api, of_learner[-1])] == ["active", "deleted"]

    def test_a_dump_brings_everything_back(self) -> None:
        first, second = CanvasSimulator(learners=200, enrollments=300), CanvasSimulator()
        first.mutate({"object": "learners", "op": "create", "fields": {"username": "new"}})
        second.load(first.dump())
        assert second.records("learners") == first.records("learners")


# The client wants HTTPS, which a server on loopback has no need of.
@pytest.mark.filterwarnings("ignore:Canvas may respond unexpectedly:UserWarning")
class TestThirdPartyClient:
    def test_it_reads_the_account(self, canvas: Canvas, school: dict[str, Rows]) -> None:
        account = canvas.get_account(1)
        users = list(account.get_users(include=["email"]))
        assert len(users) == sum(row["status"] != "deleted" for row in school["learners"])
        assert canvas.get_user(users[0].id).email == users[0].email
        assert users[0].get_profile()["login_id"] == users[0].login_id
        assert canvas.get_user("lrn-0000003", "sis_user_id").id == 3
        assert [course.name for course in account.get_courses(per_page=2)] == [
            row["title"] for row in school["courses"]
        ]

    def test_it_reads_a_course(self, canvas: Canvas) -> None:
        course = canvas.get_course(1)
        enrollments = list(course.get_enrollments(type=["StudentEnrollment"], state=["active", "completed"]))
        assert {each.enrollment_state for each in enrollments} == {"active", "completed"}
        assert any(each.grades["current_score"] for each in enrollments)
        assert enrollments[0].created_at_date.tzinfo is not None
        graded = list(course.get_multiple_submissions(student_ids=["all"], workflow_state="graded"))
        assert all(each.score is not None for each in graded)
        assert [each.id for each in course.get_assignments()] == [101, 102, 103, 104, 105]
        results = list(course.get_outcome_results())
        assert len(results) > 100
        rollups = course.get_outcome_result_rollups(include=["outcomes"])
        assert rollups["linked"]["outcomes"]
        found = list(canvas.get_user(enrollments[0].user_id).get_enrollments(state=["active", "completed"]))
        assert enrollments[0].id in [each.id for each in found]

    def test_it_knows_the_errors(self, api: httpx.Client, canvas: Canvas) -> None:
        with pytest.raises(ResourceDoesNotExist):
            canvas.get_course(99)
        address = str(api.base_url).rstrip("/")
        with pytest.raises(InvalidAccessToken):
            Canvas(address, "wrong").get_current_user()
        with pytest.raises(Forbidden):
            list(Canvas(address, "poor").get_account(1).get_users())
        api.post("/_sandbox/options", json={"rate_limit": 0, "rate_limit_status": 429}).raise_for_status()
        with pytest.raises(RateLimitExceeded):
            canvas.get_current_user()
