"""The simulated Thinkific over HTTP: its wire behaviour, and what it makes of a school's rows."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.thinkific import ThinkificSimulator
from lms_crm_assets.sandbox.thinkific.limits import MinuteLimit
from lms_crm_assets.sandbox.thinkific.wire import ThinkificError
from tests.simulator_server import serving

KEY = {"X-Auth-API-Key": "sandbox-thinkific-key", "X-Auth-Subdomain": "sandbox"}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    # Enough rows that each kind of bad one is there.
    with serving(ThinkificSimulator(learners=1000, courses=4, enrollments=3000)) as found:
        yield found


@pytest.fixture
def api(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers=KEY, timeout=120) as client:
        client.post("/_sandbox/reset").raise_for_status()
        yield client


@pytest.fixture(scope="module")
def school() -> dict[str, Rows]:
    """The rows that the site serves, as the school has them."""
    simulator = ThinkificSimulator(learners=1000, courses=4, enrollments=3000)
    return {kind: simulator.records(kind) for kind in ("learners", "courses", "enrollments", "completions")}


def get(api: httpx.Client, path: str, **query: Any) -> Any:
    response = api.get(f"/api/public/v1{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def pages(api: httpx.Client, path: str, **query: Any) -> Rows:
    """All items, page by page."""
    found: Rows = []
    page: int | None = 1
    while page is not None:
        answer = get(api, path, **{"limit": 250, **query, "page": page})
        found += answer["items"]
        page = answer["meta"]["pagination"]["next_page"]
    return found


def mutate(api: httpx.Client, entity: str, op: str, **change: Any) -> Any:
    response = api.post("/_sandbox/mutate", json={"object": entity, "op": op, **change})
    assert response.status_code == 200, response.text
    return response.json()


def seconds(moment: str | None) -> str | None:
    return None if moment is None else moment.replace(".000Z", "Z")


class TestRequests:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"X-Auth-API-Key": "wrong", "X-Auth-Subdomain": "sandbox"},
            {"X-Auth-API-Key": "sandbox-thinkific-key"},
            {"X-Auth-API-Key": "sandbox-thinkific-key", "X-Auth-Subdomain": "other"},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Bearer sandbox-thinkific-key"},
        ],
    )
    def test_wrong_credentials(self, address: str, headers: dict[str, str]) -> None:
        response = httpx.get(f"{address}/api/public/v1/courses", headers=headers)
        assert (response.status_code, response.json()) == (401, {"error": "Authentication Error"})

    def test_an_apps_token_is_taken(self, address: str) -> None:
        headers = {"Authorization": "Bearer sandbox-thinkific-token"}
        assert httpx.get(f"{address}/api/public/v1/users", headers=headers).status_code == 200

    def test_a_token_without_the_scope_reads_courses_alone(self, address: str) -> None:
        headers = {"Authorization": "Bearer poor"}
        assert httpx.get(f"{address}/api/public/v1/courses", headers=headers).status_code == 200
        for path in ("users", "users/1", "enrollments", "enrollments/1"):
            response = httpx.get(f"{address}/api/public/v1/{path}", headers=headers)
            assert (response.status_code, response.json()) == (403, {"error": "Forbidden"})

    @pytest.mark.parametrize("path", ["/users/99999", "/users/x", "/courses/99", "/enrollments/99999", "/bundles"])
    def test_what_is_not_there_is_404(self, api: httpx.Client, path: str) -> None:
        response = api.get(f"/api/public/v1{path}")
        assert (response.status_code, response.json()) == (404, {"error": "Record not found."})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("limit", "0"),
            ("page", "x"),
            ("query[updated_after]", "yesterday"),
            ("query[user_id]", "ana"),
            ("query[completed]", "yes"),
        ],
    )
    def test_what_makes_no_sense_is_422(self, api: httpx.Client, name: str, value: str) -> None:
        response = api.get("/api/public/v1/enrollments", params={name: value})
        assert response.status_code == 422
        assert list(response.json()["errors"]) == [name.removeprefix("query[").removesuffix("]")]

    def test_pages(self, api: httpx.Client) -> None:
        first = get(api, "/users")
        assert len(first["items"]) == 25
        total = first["meta"]["pagination"]["total_items"]
        assert first["meta"]["pagination"] == {
            "current_page": 1,
            "next_page": 2,
            "prev_page": None,
            "total_pages": -(-total // 25),
            "total_items": total,
            "entries_info": f"1-25 of {total}",
        }
        most = get(api, "/users", limit=1000)
        assert len(most["items"]) == 250
        beyond = get(api, "/users", limit=250, page=9)
        assert (beyond["items"], beyond["meta"]["pagination"]["next_page"]) == ([], None)
        assert len(pages(api, "/users", limit=97)) == total

    def test_the_limit_is_of_a_minute_and_off_at_first(self, api: httpx.Client) -> None:
        assert "ratelimit-limit" not in api.get("/api/public/v1/courses").headers
        api.post("/_sandbox/options", json={"requests_per_minute": 2}).raise_for_status()
        answers = [api.get("/api/public/v1/courses") for _ in range(8)]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["ratelimit-limit"] == "2"
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 0 < int(refused.headers["ratelimit-reset"]) - time.time() <= 60

    def test_a_new_minute_counts_anew(self) -> None:
        now = 120.0
        limit = MinuteLimit(lambda: now)
        assert limit.admit(1) == {"RateLimit-Limit": "1", "RateLimit-Remaining": "0", "RateLimit-Reset": "180"}
        now = 179.9
        with pytest.raises(ThinkificError):
            limit.admit(1)
        now = 180.0
        assert limit.admit(1)["RateLimit-Reset"] == "240"


class TestRows:
    def test_users_are_the_learners_that_are_not_deleted(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        learners = {integer_id(row["id"]): row for row in school["learners"] if row["status"] != "deleted"}
        users = pages(api, "/users")
        assert [user["id"] for user in users] == sorted(learners)
        for user in users:
            row = learners[user["id"]]
            assert (user["first_name"], user["last_name"]) == (row["given_name"], row["family_name"])
            assert (user["email"], user["company"]) == (row["email"], row["organization"])
            assert user["custom_profile_fields"][0]["value"] == row["country"]
        assert get(api, f"/users/{users[0]['id']}") == users[0]
        email = next(user["email"] for user in users if user["email"])
        assert email in [user["email"] for user in pages(api, "/users", **{"query[email]": email.upper()})]

    def test_courses_and_their_products(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        courses, products = pages(api, "/courses"), pages(api, "/products")
        assert [course["name"] for course in courses] == [row["title"] for row in school["courses"]]
        assert get(api, "/courses/2") == courses[1]
        assert [product["productable_id"] for product in products] == [1, 2, 3, 4]
        assert get(api, f"/products/{courses[2]['product_id']}") == products[2]
        mutate(api, "courses", "update", id="crs-0000002", fields={"visible": not school["courses"][1]["visible"]})
        assert get(api, f"/products/{courses[1]['product_id']}")["status"] != products[1]["status"]

    def test_enrollments(self, api: httpx.Client, school: dict[str, Rows]) -> None:
        gone = {row["id"] for row in school["learners"] if row["status"] == "deleted"}
        completions = {(row["learner_id"], row["course_id"]): row for row in school["completions"]}
        rows = {
            integer_id(row["id"]): row
            for row in school["enrollments"]
            if row["status"] != "withdrawn" and row["learner_id"] not in gone
        }
        found = pages(api, "/enrollments")
        assert [each["id"] for each in found] == sorted(rows)
        for each in found:
            row = rows[each["id"]]
            completion = completions.get((row["learner_id"], row["course_id"]))
            assert (each["user_id"], each["course_id"]) == tuple(
                integer_id(row[name]) for name in ("learner_id", "course_id")
            )
            assert each["expired"] is (row["status"] in {"suspended", "expired"})
            assert each["completed"] is (row["status"] == "completed")
            assert each["is_free_trial"] is (row["status"] == "pending_payment")
            assert (each["activated_at"] is None) is (row["status"] in {"invited", "pending_payment"})
            assert float(each["percentage_completed"]) * 100 == pytest.approx(
                completion["progress_pct"] if completion else 0
            )
            assert seconds(each["completed_at"]) == (completion["completed_at"] if completion else None)
            assert seconds(each["updated_at"]) == row["updated_at"]
            assert (each["course_name"] is None) is ("gone" in row["course_id"])
            if row["status"] != "suspended":
                assert seconds(each["expiry_date"]) == row["ends_at"]
        assert {row["status"] for row in rows.values()} > {"pending_payment", "invited", "suspended", "expired"}
        assert get(api, f"/enrollments/{found[0]['id']}") == found[0]
        withdrawn = next(row for row in school["enrollments"] if row["status"] == "withdrawn")
        assert api.get(f"/api/public/v1/enrollments/{integer_id(withdrawn['id'])}").status_code == 404


class TestFilters:
    def test_by_user_course_and_state(self, api: httpx.Client) -> None:
        every = pages(api, "/enrollments")
        one = every[5]
        filters: list[tuple[str, Any, Any]] = [
            ("user_id", one["user_id"], one["user_id"]),
            ("course_id", one["course_id"], one["course_id"]),
            ("completed", "true", True),
            ("expired", "false", False),
        ]
        for name, text, value in filters:
            found = pages(api, "/enrollments", **{f"query[{name}]": text})
            assert found == [each for each in every if each[name] == value]
        both = {"query[user_id]": one["user_id"], "query[course_id]": one["course_id"]}
        assert pages(api, "/enrollments", **both) == [one]
        assert pages(api, "/enrollments", **{"query[user_id]": 99_999}) == []
        trials = pages(api, "/enrollments", **{"query[free_trial]": "true"})
        assert len(pages(api, "/enrollments", **{"query[full]": "true"})) == len(every) - len(trials)

    def test_by_time(self, api: httpx.Client) -> None:
        every = pages(api, "/enrollments")
        middle = sorted(each["updated_at"] for each in every)[len(every) // 2]

        def listed(name: str, moment: str) -> Rows:
            return pages(api, "/enrollments", **{f"query[{name}]": moment})

        assert listed("updated_after", middle) == [each for each in every if each["updated_at"] > middle]
        assert listed("updated_on_or_after", middle) == [each for each in every if each["updated_at"] >= middle]
        assert listed("updated_before", middle) == [each for each in every if each["updated_at"] < middle]
        day = middle[:10]
        assert listed("updated_on_or_after", day) == [each for each in every if each["updated_at"] >= day]
        assert listed("updated_on", day) == [each for each in every if each["updated_at"].startswith(day)]
        assert listed("updated_on_or_before", day) == [each for each in every if each["updated_at"][:10] <= day]

    def test_changes_of_enrollment_and_progress_are_newer(self, api: httpx.Client) -> None:
        every = pages(api, "/enrollments")
        last = max(each["updated_at"] for each in every)
        after = {"query[updated_after]": last}
        assert pages(api, "/enrollments", **after) == []
        active = [each for each in every if each["activated_at"] and not each["expired"] and not each["completed"]]
        first, second = (each["id"] for each in active[:2])
        fields = {"state": "completed", "progress_pct": 100, "completed_at": "2027-01-01T00:00:00Z"}
        mutate(api, "completions", "update", id=f"cmp-{first:07d}", fields=fields)
        mutate(api, "enrollments", "update", id=f"enr-{second:07d}", fields={"status": "suspended"})
        found = pages(api, "/enrollments", **after)
        assert [each["id"] for each in found] == [first, second]
        assert (found[0]["completed"], found[0]["percentage_completed"]) == (True, "1.0")
        assert found[1]["expiry_date"] == found[1]["updated_at"]
        mutate(api, "enrollments", "update", id=f"enr-{second:07d}", fields={"status": "withdrawn"})
        assert [each["id"] for each in pages(api, "/enrollments", **after)] == [first]
        assert second not in [each["id"] for each in pages(api, "/enrollments")]


class TestControl:
    def test_fewer_lists_a_tenth_with_totals_that_agree(self, api: httpx.Client) -> None:
        every = pages(api, "/users")
        api.post("/_sandbox/faults", json=[{"route": "/api", "kind": "fewer", "rows": 0.1}]).raise_for_status()
        few = pages(api, "/users", limit=7)
        assert 0.05 < len(few) / len(every) < 0.15
        assert get(api, "/users", limit=1)["meta"]["pagination"]["total_items"] == len(few)
        api.post("/_sandbox/faults", json=[]).raise_for_status()
        assert pages(api, "/users") == every

    def test_reset_takes_sizes_and_options(self, api: httpx.Client) -> None:
        options = {"learners": 50, "courses": 2, "enrollments": 60, "requests_per_minute": 100}
        api.post("/_sandbox/reset", json=options).raise_for_status()
        assert len(pages(api, "/courses")) == 2
        assert api.get("/api/public/v1/courses").headers["ratelimit-limit"] == "100"
        assert api.post("/_sandbox/reset", json={"requests_per_minute": 0}).status_code == 400

    def test_rows_made_without_attributes_break_no_listing(self, api: httpx.Client) -> None:
        learner = mutate(api, "learners", "create")["id"]
        course = mutate(api, "courses", "create")["id"]
        for entity in ("enrollments", "completions"):
            for fields in ({}, {"learner_id": learner}, {"learner_id": learner, "course_id": course}):
                mutate(api, entity, "create", fields=fields)
        assert pages(api, "/users")[-1]["id"] == integer_id(learner)
        assert pages(api, "/courses")[-1]["id"] == pages(api, "/products")[-1]["productable_id"] == integer_id(course)
        [found] = pages(api, "/enrollments", **{"query[user_id]": integer_id(learner)})
        assert (found["course_id"], found["started_at"], found["completed"]) == (integer_id(course), None, False)
        assert (
            pages(api, "/enrollments")[-1]
            == pages(api, "/enrollments", **{"query[updated_on_or_after]": "2026-01-01"})[-1]
        )

    def test_a_dump_brings_everything_back(self) -> None:
        first, second = ThinkificSimulator(learners=200, enrollments=300), ThinkificSimulator()
        first.mutate({"object": "learners", "op": "create", "fields": {"email": "new@acme.test"}})
        second.load(first.dump())
        assert second.records("learners") == first.records("learners")


@pytest.mark.long
def test_a_large_site_serves_its_pages_quickly_once_it_has_found_them() -> None:
    simulator = ThinkificSimulator(learners=20_000, courses=20, enrollments=50_000)
    with serving(simulator) as address, httpx.Client(base_url=address, headers=KEY, timeout=60) as api:

        def seconds(page: int) -> float:
            started = time.perf_counter()
            assert len(get(api, "/enrollments", limit=250, page=page)["items"]) == 250
            return time.perf_counter() - started

        found = seconds(1)
        assert min(seconds(page) for page in (100, 101, 102)) < found / 10
