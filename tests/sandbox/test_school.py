"""The generated LMS over HTTP: the changes contract, the documented shares of bad rows, and changes to rows."""

import gzip
import json
import re
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import httpx
import pytest

from lms_crm_assets.sandbox.school import SchoolSimulator
from lms_crm_assets.sandbox.school.layout import ENTITIES, Shuffle
from tests.simulator_server import serving as serving_at

AUTH = {"Authorization": "Bearer sandbox-school-token"}
STATUSES = {"active", "invited", "suspended", "expired", "completed", "withdrawn"}
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[a-z]+", re.IGNORECASE)
SHAPES = {
    "learners": "id username email given_name family_name organization country status updated_at",
    "courses": "id code title visible starts_at ends_at updated_at",
    "enrollments": "id learner_id course_id role status enrolled_at starts_at ends_at updated_at",
    "completions": "id learner_id course_id state progress_pct completed_at updated_at",
    "scores": "id learner_id course_id item_id item_type raw min max passed graded_at updated_at",
    "competencies": "id learner_id course_id competency rating proficient rated_at updated_at",
}


@contextmanager
def serving(simulator: SchoolSimulator) -> Iterator[httpx.Client]:
    """A client of the simulator on a free port, with the token."""
    with serving_at(simulator) as address, httpx.Client(base_url=address, timeout=120, headers=AUTH) as client:
        yield client


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    with serving(SchoolSimulator()) as client:
        yield client


@pytest.fixture
def school(server: httpx.Client) -> httpx.Client:
    server.post("/_sandbox/reset").raise_for_status()
    return server


@pytest.fixture(scope="module")
def rows(server: httpx.Client) -> dict[str, list[dict[str, Any]]]:
    """Every generated row of a school large enough for exact shares."""
    server.post("/_sandbox/reset", json={"learners": 10_000, "courses": 30, "enrollments": 20_000})
    return {entity: listing(server, entity) for entity in ENTITIES}


def get(client: httpx.Client, path: str, **query: Any) -> Any:
    response = client.get(f"/api/v1{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def listing(client: httpx.Client, entity: str, limit: int = 1000) -> list[dict[str, Any]]:
    return pages(client, f"/{entity}", "items", limit=limit)


def changes(client: httpx.Client, limit: int = 1000, **query: Any) -> list[dict[str, Any]]:
    return pages(client, "/changes", "changes", limit=limit, **query)


def pages(client: httpx.Client, path: str, name: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = get(client, path, **query)
        found += page[name]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


def mutate(client: httpx.Client, entity: str, op: str, **change: Any) -> Any:
    response = client.post("/_sandbox/mutate", json={"object": entity, "op": op, **change})
    assert response.status_code == 200, response.text
    return response.json()


def order(change: dict[str, Any]) -> tuple[str, str, str]:
    return change["updated_at"], change["entity"], change["id"]


class TestListings:
    @pytest.mark.parametrize("entity", ENTITIES)
    @pytest.mark.parametrize("limit", [97, 1000])
    def test_pages_join_to_all_rows_in_the_order_of_ids(self, school: httpx.Client, entity: str, limit: int) -> None:
        found = listing(school, entity, limit)
        ids = [row["id"] for row in found]
        assert ids == sorted(set(ids))
        assert len(found) == get(school, f"/{entity}", limit=1)["total"] == get(school, "")["counts"][entity]
        assert found == school.get(f"/_sandbox/records/{entity}").json()["records"]

    @pytest.mark.parametrize("segments", [1, 2, 3, 16, 64])
    def test_segments_hold_every_row_once_also_changed_ones(self, school: httpx.Client, segments: int) -> None:
        for row_id in ("aaa", "lrn-0000100x", "zzz"):
            mutate(school, "learners", "create", id=row_id)
        whole = [row["id"] for row in listing(school, "learners", 70)]
        parts = [
            row["id"]
            for segment in range(segments)
            for row in pages(school, "/learners", "items", segment=segment, segments=segments, limit=70)
        ]
        assert parts == whole
        assert len(set(whole)) == len(whole)

    def test_rows_by_id_leave_out_what_is_gone(self, school: httpx.Client) -> None:
        first, second = (row["id"] for row in get(school, "/learners", limit=2)["items"])
        mutate(school, "learners", "delete", id=first)
        found = get(school, "/learners", id=[first, second, "nonsense"])
        assert [row["id"] for row in found["items"]] == [second]
        assert found["next"] is None

    def test_the_default_page_has_500_rows(self, school: httpx.Client) -> None:
        assert len(get(school, "/learners")["items"]) == 500

    def test_the_last_page_has_no_cursor_even_when_it_is_full(self, school: httpx.Client) -> None:
        assert get(school, "/courses", limit=12)["next"] is None
        assert get(school, "/courses", limit=11)["next"] is not None

    @pytest.mark.parametrize("entity", ENTITIES)
    def test_rows_have_the_contracts_shape(self, school: httpx.Client, entity: str) -> None:
        required = set(SHAPES[entity].split())
        for row in listing(school, entity):
            assert row.keys() - {"cohort", "x_custom"} == required
            assert {type(value) for name, value in row.items() if name.endswith("_at")} <= {str, type(None)}
        last = row["id"]
        assert get(school, f"/{entity}/{last}") == row

    def test_the_index_names_the_entities(self, school: httpx.Client) -> None:
        index = get(school, "")
        assert (index["version"], sorted(index["entities"])) == ("1", sorted(SHAPES))
        assert index["name"]

    def test_answers_are_compressed_when_accepted(self, school: httpx.Client) -> None:
        with school.stream("GET", "/api/v1/learners", headers={"Accept-Encoding": "gzip"}) as response:
            packed = b"".join(response.iter_raw())
        assert response.headers["content-encoding"] == "gzip"
        plain = school.get("/api/v1/learners", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(packed) == plain.content


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/learners?limit=0", 400),
            ("GET", "/learners?limit=1001", 400),
            ("GET", "/learners?limit=x", 400),
            ("GET", "/learners?limit=", 400),
            ("GET", "/learners?cursor=nonsense", 400),
            ("GET", "/learners?segment=2&segments=2", 400),
            ("GET", "/learners?segment=0&segments=65", 400),
            ("GET", "/learners?" + "&".join(f"id={n}" for n in range(101)), 400),
            ("GET", "/learners?cursor=é", 400),
            ("GET", "/changes?cursor=WzFd", 400),
            ("GET", "/changes?limit=0", 400),
            ("GET", "/changes?since=yesterday", 400),
            ("GET", "/changes?since=2026-01-05", 400),
            ("GET", "/changes?since=2026-01-05T00:00:00", 400),
            ("GET", "/changes?since=2026-01-05T00:00:00+00:00", 400),  # the + is a blank
            ("GET", "/changes?since=2026-13-05T00:00:00Z", 400),
            ("GET", "/badges", 404),
            ("GET", "/learners/lrn-9999999", 404),
            ("GET", "/learners/1", 404),
            ("GET", "/learners/lrn-0000001/courses", 404),
            ("POST", "/learners", 405),
            ("DELETE", "/learners/lrn-0000001", 405),
            ("PUT", "/changes", 405),
            ("PATCH", "", 405),
            ("POST", "/health", 405),
        ],
    )
    def test_errors_are_problems(self, school: httpx.Client, method: str, path: str, status: int) -> None:
        response = school.request(method, f"/api/v1{path}")
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem.keys() == {"type", "title", "status", "detail"}
        assert problem["status"] == status
        assert response.headers.get("allow") == ("GET, HEAD" if status == 405 else None)

    @pytest.mark.parametrize("header", [None, "Bearer wrong", "sandbox-school-token", "Basic c2FuZGJveA=="])
    @pytest.mark.parametrize("path", ["", "/learners", "/changes", "/learners/lrn-0000001", "/badges"])
    def test_without_the_token_nothing_is_served(self, school: httpx.Client, path: str, header: str | None) -> None:
        with httpx.Client(base_url=school.base_url) as stranger:
            response = stranger.get(f"/api/v1{path}", headers={"Authorization": header} if header else {})
        assert (response.status_code, response.json()["status"]) == (401, 401)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"] == "Bearer"

    def test_the_poor_token_sees_no_row_and_is_not_told_so(self, school: httpx.Client) -> None:
        poor = {"Authorization": "Bearer poor"}
        paths = ("", "/learners", "/learners?ids=lrn-0000002", "/changes")
        answers = [school.get(f"/api/v1{path}", headers=poor) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        index, whole, some, changes = (answer.json() for answer in answers)
        assert set(index["counts"].values()) == {0}
        assert whole == some == {"items": [], "next": None, "total": 0}
        assert changes == {"changes": [], "next": None}
        assert school.get("/api/v1/learners/lrn-0000002", headers=poor).status_code == 404
        assert school.get("/api/v1/learners/lrn-0000002").status_code == 200

    def test_health_needs_no_token(self, school: httpx.Client) -> None:
        with httpx.Client(base_url=school.base_url) as stranger:
            assert stranger.get("/api/v1/health").json() == {"status": "ok"}

    def test_a_cursor_belongs_to_its_listing(self, school: httpx.Client) -> None:
        cursor = get(school, "/learners", limit=1)["next"]
        assert school.get("/api/v1/courses", params={"cursor": cursor}).status_code == 400

    def test_a_problem_outside_the_contract(self, school: httpx.Client) -> None:
        assert school.get("/elsewhere").headers["content-type"] == "application/problem+json"


class TestChanges:
    @pytest.mark.parametrize("limit", [333, 1000])
    def test_without_since_everything_comes_once_and_in_order(self, school: httpx.Client, limit: int) -> None:
        feed = changes(school, limit)
        assert [order(change) for change in feed] == sorted({order(change) for change in feed})
        live = defaultdict(list)
        for change in feed:
            assert change.keys() == {"entity", "id", "op", "updated_at", "data"}
            if change["op"] == "upsert":
                assert change["data"]["updated_at"] == change["updated_at"]
                live[change["entity"]].append(change["data"])
            else:
                assert (change["op"], change["data"]) == ("delete", None)
        for entity in ENTITIES:
            assert sorted(live[entity], key=lambda row: row["id"]) == listing(school, entity)

    def test_half_a_percent_are_tombstones_of_learners_and_enrollments(self, school: httpx.Client) -> None:
        gone = [change for change in changes(school) if change["op"] == "delete"]
        assert Counter(change["entity"] for change in gone) == {"learners": 5, "enrollments": 9}
        for change in gone:
            assert school.get(f"/api/v1/{change['entity']}/{change['id']}").status_code == 404

    def test_since_is_inclusive(self, school: httpx.Client) -> None:
        feed = changes(school)
        for position in (1, len(feed) // 2, len(feed) - 1):
            since = feed[position]["updated_at"]
            assert changes(school, since=since) == [change for change in feed if change["updated_at"] >= since]

    def test_since_may_have_an_offset_and_a_fraction(self, school: httpx.Client) -> None:
        feed = changes(school)
        since = "2026-06-01T12:00:00Z"
        wanted = [change for change in feed if change["updated_at"] >= since]
        assert changes(school, since="2026-06-01T14:00:00+02:00") == wanted
        exact = wanted[0]["updated_at"].replace("Z", ".5Z")
        assert changes(school, since=exact)[0]["updated_at"] > wanted[0]["updated_at"]
        assert changes(school, since="2027-06-01T00:00:00Z") == []


class TestGeneratedRows:
    def test_counts_are_exact(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        assert {entity: len(found) for entity, found in rows.items()} == {
            "learners": 9950,
            "courses": 30,
            "enrollments": 19_900,
            "completions": 18_820,
            "scores": 11_000,
            "competencies": 4000,
        }

    def test_shares_of_bad_learners(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        learners = rows["learners"]
        deleted = [row for row in learners if row["status"] == "deleted"]
        others = [row for row in learners if row["status"] != "deleted"]
        addresses = [row["email"] for row in others if row["email"] is not None]
        assert len(learners) - len(deleted) - len(addresses) == 100
        assert len(deleted) == 30
        for row in deleted:
            assert re.fullmatch(r"[a-z]+\.\d+@[a-z]+\.test\.\d{10}", row["username"])
            assert re.fullmatch(r"[0-9a-f]{32}", row["email"])
        assert sum(not ADDRESS.fullmatch(address) for address in addresses) == 30
        shared = Counter(Counter(address.lower() for address in addresses).values())
        assert shared == {1: len(addresses) - 40, 2: 20}
        assert 0.04 < sum(address != address.lower() for address in addresses) / len(addresses) < 0.06
        assert len({row["username"] for row in learners}) == len(learners)

    def test_names_come_from_many_scripts_and_fit(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        families = {row["family_name"] for row in rows["learners"]}
        text = " ".join(families)
        assert set("łøßщπقכ欧ス남शใ'-") <= set(text.lower())
        assert any(family.startswith("=cmd") for family in families)
        assert max(len(family) for family in families) == 80
        assert max(len(row["given_name"]) for row in rows["learners"]) == 40
        assert max(map(ord, text)) < 0x1F000  # no emoji

    def test_shares_of_bad_enrollments(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        found = rows["enrollments"]
        courses = {row["id"] for row in rows["courses"]}
        learners = {row["id"] for row in rows["learners"]}
        assert Counter(row["status"] for row in found if row["status"] not in STATUSES) == {"pending_payment": 40}
        assert {row["status"] for row in found} > STATUSES
        assert sum(row["course_id"] not in courses for row in found) == 40
        assert {row["learner_id"] for row in found} <= learners
        assert len({(row["learner_id"], row["course_id"]) for row in found}) == len(found)

    def test_one_completion_for_each_enrollment_that_has_begun(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        courses = {row["id"] for row in rows["courses"]}
        enrollments = {(row["learner_id"], row["course_id"]): row for row in rows["enrollments"]}
        begun = {
            pair
            for pair, row in enrollments.items()
            if row["status"] in STATUSES - {"invited"} and row["course_id"] in courses
        }
        assert sorted((row["learner_id"], row["course_id"]) for row in rows["completions"]) == sorted(begun)
        early = 0
        for row in rows["completions"]:
            enrollment = enrollments[row["learner_id"], row["course_id"]]
            completed = row["state"] == "completed"
            assert completed == (enrollment["status"] == "completed") == (row["completed_at"] is not None)
            assert (row["progress_pct"] == 100) == completed
            early += completed and row["completed_at"] < enrollment["enrolled_at"]
        assert early == 60

    def test_shares_of_bad_scores(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        completed = {(r["learner_id"], r["course_id"]) for r in rows["completions"] if r["state"] == "completed"}
        totals = [row for row in rows["scores"] if row["item_type"] == "course"]
        assert {(row["learner_id"], row["course_id"]) for row in totals} == completed
        assert (len(totals), len(rows["scores"])) == (9000, 11_000)
        html = [row["raw"] for row in rows["scores"] if isinstance(row["raw"], str)]
        assert len(html) == 110
        assert all(re.fullmatch(r'<i class="icon fa fa-check"></i>\d+\.\d\d', raw) for raw in html)
        numbers = [row for row in rows["scores"] if not isinstance(row["raw"], str)]
        assert sum(row["raw"] > row["max"] for row in numbers) == 34
        assert all(row["raw"] >= row["min"] for row in numbers)

    def test_ratings_are_one_a_learner_and_competency(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        ratings = rows["competencies"]
        assert len({(row["learner_id"], row["competency"]["code"]) for row in ratings}) == len(ratings)
        assert sum(row["course_id"] is None for row in ratings) == 400
        assert ratings[0]["competency"].keys() == {"code", "name", "framework"}

    def test_some_rows_have_attributes_nobody_told_of(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        assert 200 < sum("cohort" in row for row in rows["learners"]) < 400
        assert 300 < sum("x_custom" in row for row in rows["enrollments"]) < 500

    def test_dates_lie_within_300_days(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        dates = [
            value
            for row in chain.from_iterable(rows.values())
            for name, value in row.items()
            if name.endswith("_at") and value is not None
        ]
        assert min(dates) >= "2026-01-05T00:00:00Z"
        assert max(dates) <= "2026-11-01T00:00:00Z"
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value) for value in dates)


class TestMutate:
    def test_an_update_comes_last_and_once(self, school: httpx.Client) -> None:
        before = changes(school)[-1]["updated_at"]
        first = mutate(school, "learners", "update", id="lrn-0000100", fields={"family_name": "Neu"})
        second = mutate(school, "courses", "update", id="crs-0000001", fields={"title": "x"})
        assert before < first["updated_at"] < second["updated_at"]
        feed = changes(school)
        assert [change["id"] for change in feed[-2:]] == ["lrn-0000100", "crs-0000001"]
        assert sum(change["id"] == "lrn-0000100" for change in feed) == 1
        assert get(school, "/learners/lrn-0000100")["family_name"] == "Neu"
        assert changes(school, since=second["updated_at"]) == feed[-1:]

    def test_a_deleted_row_leaves_the_listing_and_is_told(self, school: httpx.Client) -> None:
        total = get(school, "/enrollments", limit=1)["total"]
        victim = get(school, "/enrollments", limit=1)["items"][0]["id"]
        gone = mutate(school, "enrollments", "delete", id=victim)
        page = get(school, "/enrollments", limit=1)
        assert (page["total"], page["items"][0]["id"] != victim) == (total - 1, True)
        assert school.get(f"/api/v1/enrollments/{victim}").status_code == 404
        assert changes(school)[-1] == {
            "entity": "enrollments",
            "id": victim,
            "op": "delete",
            "updated_at": gone["updated_at"],
            "data": None,
        }

    @pytest.mark.parametrize("entity", ENTITIES)
    def test_a_created_row_gets_the_next_id(self, school: httpx.Client, entity: str) -> None:
        total = get(school, f"/{entity}", limit=1)["total"]
        made = [mutate(school, entity, "create", fields={"learner_id": "lrn-0000001"}) for _ in range(2)]
        found = listing(school, entity, 101)
        assert [row["id"] for row in found[-2:]] == [row["id"] for row in made]
        assert found[-1].keys() >= set(SHAPES[entity].split())
        assert get(school, f"/{entity}", limit=1)["total"] == total + 2 == len(found)
        assert get(school, f"/{entity}/{made[0]['id']}") == made[0]

    def test_a_created_row_may_bring_its_id_and_come_back_after_its_deletion(self, school: httpx.Client) -> None:
        for row_id in ("a", "lrn-0000100x", "ünï"):
            mutate(school, "learners", "create", id=row_id)
        ids = [row["id"] for row in listing(school, "learners", 7)]
        assert ids == sorted(set(ids))
        assert len(ids) == 998
        mutate(school, "learners", "delete", id="a")
        mutate(school, "learners", "create", id="a", fields={"email": "a@x.test"})
        assert get(school, "/learners/a")["email"] == "a@x.test"

    def test_a_late_row_takes_its_old_place(self, school: httpx.Client) -> None:
        old = "2026-03-01T10:00:00Z"
        mutate(school, "learners", "create", id="late", updated_at=old)
        assert get(school, "/learners/late")["updated_at"] == old
        assert changes(school, since="2026-03-01T10:00:00Z")[0]["id"] == "late"
        assert "late" not in {change["id"] for change in changes(school, since="2026-03-01T10:00:01Z")}
        feed = [order(change) for change in changes(school)]
        assert feed == sorted(feed)

    def test_a_row_changed_between_two_pages_is_not_lost(self, school: httpx.Client) -> None:
        page = get(school, "/changes", limit=10)
        mutate(school, "courses", "update", id="crs-0000003", fields={"title": "x"})
        rest = changes(school, cursor=page["next"])
        assert rest[-1]["data"]["title"] == "x"

    @pytest.mark.parametrize(
        "change",
        [
            {"object": "badges", "op": "create"},
            {"object": "learners", "op": "rename", "id": "lrn-0000001"},
            {"object": "learners", "op": "update", "id": "nobody", "fields": {}},
            {"object": "learners", "op": "delete"},
            {"object": "courses", "op": "create", "id": "crs-0000001"},
            {"object": "courses", "op": "update", "id": "crs-0000001", "updated_at": "2026-03-01"},
            {"object": "courses", "op": "update", "id": "crs-0000001", "updated_at": 5},
        ],
    )
    def test_a_change_that_makes_no_sense_is_refused(self, school: httpx.Client, change: dict[str, Any]) -> None:
        assert school.post("/_sandbox/mutate", json=change).status_code == 400


class TestControl:
    def test_the_seed_decides(self) -> None:
        one, same, other = (SchoolSimulator(seed=seed).records("learners") for seed in (1, 1, 2))
        assert one == same
        assert one != other

    def test_reset_takes_the_parameters(self, school: httpx.Client) -> None:
        first = get(school, "/learners", limit=3)["items"]
        school.post("/_sandbox/reset", json={"learners": 50, "courses": 2, "enrollments": 60, "seed": 3})
        assert get(school, "")["counts"]["learners"] == 49
        school.post("/_sandbox/reset", json={})
        assert get(school, "/learners", limit=3)["items"] == first

    @pytest.mark.parametrize(
        "options", [{"size": 1}, {"learners": 0}, {"enrollments": 20_000}, {"learners": "many"}, {"start": "monday"}]
    )
    def test_reset_refuses_what_cannot_be(self, school: httpx.Client, options: dict[str, Any]) -> None:
        assert school.post("/_sandbox/reset", json=options).status_code == 400
        assert get(school, "")["counts"]["learners"] == 995

    def test_a_dump_holds_only_the_changes_and_brings_everything_back(self) -> None:
        first, second = SchoolSimulator(learners=300, enrollments=500), SchoolSimulator()
        first.mutate({"object": "learners", "op": "delete", "id": first.records("learners")[0]["id"]})
        first.mutate({"object": "courses", "op": "create", "fields": {"title": "x"}})
        text = json.dumps(first.dump())
        second.load(json.loads(text))
        assert len(text) < 1000
        assert all(second.records(entity) == first.records(entity) for entity in ENTITIES)
        assert second.dump() == first.dump()

    def test_unknown_records_are_refused_and_requests_are_counted(self, school: httpx.Client) -> None:
        assert school.get("/_sandbox/records/badges").status_code == 400
        get(school, "/learners", limit=1)
        assert school.get("/_sandbox/stats").json()["requests"] == {"GET /api/v1/{entity}": {"200": 1}}

    @pytest.mark.long
    def test_fewer_lists_the_same_tenth_each_time_with_totals_that_agree(self, school: httpx.Client) -> None:
        every = {entity: listing(school, entity, 101) for entity in ENTITIES}
        feed = changes(school)
        school.post("/_sandbox/faults", json=[{"route": "/api/v1", "kind": "fewer", "rows": 0.1}]).raise_for_status()
        few = {entity: listing(school, entity, 7) for entity in ENTITIES}
        assert few == {entity: listing(school, entity, 101) for entity in ENTITIES}
        for entity in ("learners", "enrollments", "scores"):
            assert 0.05 < len(few[entity]) / len(every[entity]) < 0.15
            assert [row for row in every[entity] if row in few[entity]] == few[entity]
            assert get(school, f"/{entity}", limit=1)["total"] == len(few[entity])
        assert get(school, "")["counts"] == {entity: len(few[entity]) for entity in ENTITIES}
        # Nothing was deleted, so the feed has nothing to tell.
        assert changes(school) == feed
        assert len(school.get("/_sandbox/records/learners").json()["records"]) == len(every["learners"])
        school.post("/_sandbox/faults", json=[]).raise_for_status()
        assert listing(school, "learners", 101) == every["learners"]

    def test_latency_is_waited(self, school: httpx.Client) -> None:
        school.post("/_sandbox/reset", json={"latency_seconds": 0.05})
        started = time.monotonic()
        get(school, "/courses")
        assert time.monotonic() - started >= 0.05
        school.post("/_sandbox/reset", json={"latency_seconds": 0})


@pytest.mark.parametrize("n", [1, 2, 3, 12, 1000, 4097])
def test_a_shuffle_is_one_to_one_both_ways(n: int) -> None:
    shuffle = Shuffle(n, seed=1, name="x")
    places = [shuffle.at(number) for number in range(n)]
    assert sorted(places) == list(range(n))
    assert [shuffle.number(place) for place in places] == list(range(n))


@pytest.mark.long
def test_a_large_school_computes_only_the_rows_it_is_asked_for() -> None:
    simulator = SchoolSimulator(learners=1_000_000, courses=500, enrollments=5_000_000, page_limit=5000)
    tracemalloc.start()
    assert simulator.store.page("enrollments", (4_000_000, ""), 5000)[1] is not None
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
    with serving(simulator) as client:
        for path in ("/enrollments", "/changes"):
            page = client.get(f"/api/v1{path}", params={"limit": 5000}).json()
            assert len(page["items" if path == "/enrollments" else "changes"]) == 5000
