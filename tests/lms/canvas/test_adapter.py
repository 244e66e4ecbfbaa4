"""The Canvas adapter against a simulated Canvas: complete, exact by key, and clear about what is wrong."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import stamina

from lms_crm_assets.contract.models import CanvasSource, LmsThrottle
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import (
    CredentialError,
    LmsCrmError,
    PermissionMissingError,
    ProtocolError,
    RetryableError,
    WrongAddressError,
)
from lms_crm_assets.lms.canvas import CanvasAdapter
from lms_crm_assets.lms.canvas.api import pause_seconds
from lms_crm_assets.ops import tokens
from lms_crm_assets.sandbox.canvas import CanvasSimulator
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from tests.conftest import empty_store
from tests.lms.pulls import ALL, Rows, fetched, pulled
from tests.sandbox_control import fault, mutate, records, requests
from tests.simulator_server import serving

COURSE_WIDE = [LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES]
Make = Callable[..., CanvasAdapter]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(CanvasSimulator(learners=250, courses=5, enrollments=420)) as found:
        yield found


@pytest.fixture
def canvas(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A simulated Canvas in its initial state, and the environment that holds its credentials."""
    httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    fault(address)
    for name, value in {
        "CANVAS_TOKEN": "sandbox-canvas-token",
        "POOR_TOKEN": "poor",
        "WRONG_TOKEN": "wrong-token-value",
        "CANVAS_CLIENT": "sandbox-client",
        "CANVAS_SECRET": "sandbox-secret",
        "CANVAS_REFRESH": "sandbox-canvas-refresh",
    }.items():
        monkeypatch.setenv(name, value)
    return address


def adapter(address: str, **changes: Any) -> CanvasAdapter:
    values = {"adapter": "canvas", "url": address, "token": "env:CANVAS_TOKEN", **changes}
    return CanvasAdapter(CanvasSource.model_validate(values), LmsThrottle(), empty_store())


def expected(address: str) -> dict[LmsEntity, set[str]]:
    """The keys that the school's rows have in Canvas."""
    living = {row["id"] for row in records(address, "learners") if row["status"] != "deleted"}
    courses = {row["id"] for row in records(address, "courses")}
    rows = {e: [r for r in records(address, str(e)) if r.get("course_id") in courses] for e in COURSE_WIDE}

    def pair(row: dict[str, Any]) -> str:
        return f"{integer_id(row['learner_id'])}:{integer_id(row['course_id'])}"

    enrolled = rows[LmsEntity.ENROLLMENTS]
    students = {
        pair(row)
        for row in enrolled
        if row["learner_id"] in living and row["status"] != "withdrawn" and row["role"] not in {"teacher", "ta"}
    }
    return {
        LmsEntity.LEARNERS: {str(integer_id(row)) for row in living},
        LmsEntity.COURSES: {str(integer_id(row)) for row in courses},
        LmsEntity.ENROLLMENTS: {f"{pair(row)}:{integer_id(row['id'])}" for row in enrolled if pair(row)},
        LmsEntity.COMPLETIONS: students,
    }


def keys(found: Rows, entity: LmsEntity) -> set[str]:
    return set(found.get(entity, {}))


def test_a_pull_gives_what_the_school_has_over_many_pages(canvas: str) -> None:
    found, wanted = pulled(adapter(canvas)), expected(canvas)

    assert len(wanted[LmsEntity.LEARNERS]) > 200
    for entity in (LmsEntity.LEARNERS, LmsEntity.COURSES, LmsEntity.COMPLETIONS):
        assert keys(found, entity) == wanted[entity], entity
    assert keys(found, LmsEntity.ENROLLMENTS) <= wanted[LmsEntity.ENROLLMENTS]
    items = {key.rpartition(":")[2] == "course" for key in keys(found, LmsEntity.SCORES)}
    assert items == {True, False}, "scores of courses and of activities"
    assert keys(found, LmsEntity.COMPETENCIES)


def test_concluded_and_invited_learners_are_not_left_out_as_the_bulk_of_progress_does(canvas: str) -> None:
    found = pulled(adapter(canvas), [LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS])

    states = {
        record.payload["enrollment_state"]
        for key, record in found[LmsEntity.ENROLLMENTS].items()
        if key.rpartition(":")[0] in found[LmsEntity.COMPLETIONS]
    }
    assert states == {"active", "invited", "inactive", "completed"}


def test_nobody_s_person_or_work_is_kept_twice(canvas: str) -> None:
    found = pulled(adapter(canvas))

    for entity in COURSE_WIDE:
        for record in found[entity].values():
            assert not {"user", "body", "attachments", "url"} & record.payload.keys()
            assert "@" not in orjson.dumps(record.payload).decode()


@pytest.mark.parametrize("entity", ALL)
def test_a_row_fetched_by_its_key_is_the_row_that_a_pull_gave(canvas: str, entity: LmsEntity) -> None:
    lms = adapter(canvas)
    whole = pulled(lms)[entity]
    some = sorted(whole)[:3]

    lms = adapter(canvas)
    found = fetched(lms, entity, *some, "987654:3:1", "987654321", "(row 3 has no id)")
    lms.close()

    assert {key: found[key] for key in some} == {key: whole[key] for key in some}
    assert {key for key, record in found.items() if record.is_deleted} == {
        "987654:3:1",
        "987654321",
        "(row 3 has no id)",
    }


@pytest.mark.parametrize("entity", COURSE_WIDE)
def test_many_keys_of_a_course_are_answered_by_reading_it_once(canvas: str, entity: LmsEntity) -> None:
    whole = pulled(adapter(canvas))[entity]
    of_course = [key for key in whole if key.split(":")[1] == "3"]
    before = requests(canvas).get("GET /api/v1/courses/{course_id}/enrollments", {}).get("200", 0)

    lms = adapter(canvas)
    found = fetched(lms, entity, *of_course)
    lms.close()

    assert set(of_course) <= set(found)
    assert not any(record.is_deleted for record in found.values())
    calls = requests(canvas).get("GET /api/v1/courses/{course_id}/enrollments", {}).get("200", 0) - before
    assert calls <= 3


def test_who_and_what_is_gone_is_fetched_as_deleted(canvas: str) -> None:
    learner, course = records(canvas, "learners")[7]["id"], records(canvas, "courses")[2]["id"]
    of_course = sorted(key for key in pulled(adapter(canvas))[LmsEntity.COMPLETIONS] if key.endswith(":3"))
    mutate(canvas, object="learners", op="delete", id=learner)
    mutate(canvas, object="courses", op="delete", id=course)

    lms = adapter(canvas)
    assert fetched(lms, LmsEntity.LEARNERS, str(integer_id(learner)))[str(integer_id(learner))].is_deleted
    assert fetched(lms, LmsEntity.COURSES, "3")["3"].is_deleted
    assert all(record.is_deleted for record in fetched(lms, LmsEntity.COMPLETIONS, *of_course).values())
    lms.close()


def test_without_activities_no_submission_is_read(canvas: str) -> None:
    found = pulled(adapter(canvas, activities=False), [LmsEntity.SCORES])

    assert {key.rpartition(":")[2] for key in found[LmsEntity.SCORES]} == {"course"}
    assert not [route for route in requests(canvas) if "submissions" in route]


@pytest.mark.parametrize("concurrency", [1, 16])
def test_the_number_of_courses_at_a_time_changes_nothing(canvas: str, concurrency: int) -> None:
    assert pulled(adapter(canvas, concurrency=concurrency)) == pulled(adapter(canvas))


def test_an_access_token_that_ends_is_fetched_anew_within_a_pull(
    canvas: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(bytes(32)))
    monkeypatch.setenv("LMS_CRM_KEY_FILE", str(key))
    monkeypatch.setattr(tokens, "_shared", {})
    httpx.post(f"{canvas}/_sandbox/options", json={"token_calls": 7}).raise_for_status()
    oauth = {
        "flow": "refresh_token",
        "token": None,
        "client_id": "env:CANVAS_CLIENT",
        "client_secret": "env:CANVAS_SECRET",
        "refresh_token": "env:CANVAS_REFRESH",
    }

    found = pulled(adapter(canvas, concurrency=2, **oauth))

    assert requests(canvas)["POST /login/oauth2/token"]["200"] > 2
    assert keys(found, LmsEntity.LEARNERS) == expected(canvas)[LmsEntity.LEARNERS]


def test_a_probe_of_an_admin_s_token_has_nothing_to_say(canvas: str) -> None:
    lms = adapter(canvas)
    assert lms.probe() == []
    lms.close()


def test_a_probe_tells_that_addresses_are_withheld(canvas: str) -> None:
    body = '[{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}]'
    fault(canvas, {"route": "accounts/self/users", "kind": "replace", "status": 200, "body": body})

    lms = adapter(canvas)
    assert [line.partition(",")[0] for line in lms.probe()] == ["the token may not see e-mail addresses"]
    lms.close()


@pytest.mark.parametrize("use", ["pull", "fetch", "probe"])
def test_a_token_that_sees_only_itself_is_refused_in_every_use(canvas: str, use: str) -> None:
    lms = adapter(canvas, token="env:POOR_TOKEN")
    uses: dict[str, Callable[[], Any]] = {
        "pull": lambda: list(lms.pull([LmsEntity.ENROLLMENTS], None)),
        "fetch": lambda: list(lms.fetch(LmsEntity.ENROLLMENTS, ["1:1:1"])),
        "probe": lms.probe,
    }
    with pytest.raises(PermissionMissingError, match=r"the Canvas token may not .*docs/canvas\.md"):
        uses[use]()
    lms.close()


@pytest.mark.parametrize(
    "listed", [[], [{"id": 900_000_001}]], ids=["nobody", "itself"]
)  # the number of the simulator's admin
def test_an_account_of_nobody_else_is_no_empty_school(canvas: str, listed: list[Any]) -> None:
    fault(
        canvas,
        {"route": "/accounts/self/users", "kind": "replace", "status": 200, "body": orjson.dumps(listed).decode()},
    )
    with pytest.raises(PermissionMissingError, match="sees nobody but itself"):
        pulled(adapter(canvas))


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("route", "words"),
    [
        ("bulk_user_progress", "completions of course 1"),
        ("students/submissions", "scores of course 1"),
        ("outcome_results", "competencies of course 1"),
    ],
)
def test_what_a_token_may_not_see_is_told_by_the_probe_and_never_taken_for_gone(
    canvas: str, route: str, words: str, status: int
) -> None:
    fault(canvas, {"route": route, "kind": "status", "status": status, "body": "{}"})
    lms = adapter(canvas)
    (said,) = lms.probe()
    assert words in said
    with pytest.raises(PermissionMissingError, match=r"docs/canvas\.md"):
        list(lms.pull(ALL, None))
    lms.close()


def test_grades_that_are_withheld_are_no_scores_that_are_gone(canvas: str) -> None:
    row = {
        "id": 5,
        "user_id": 7,
        "type": "StudentEnrollment",
        "enrollment_state": "active",
        "grades": {"html_url": "x"},
    }
    body = orjson.dumps([row]).decode()
    fault(canvas, {"route": "courses/./enrollments", "kind": "replace", "status": 200, "body": body})

    with pytest.raises(PermissionMissingError, match="may not see the grades of course"):
        pulled(adapter(canvas), [LmsEntity.SCORES])
    assert pulled(adapter(canvas), [LmsEntity.ENROLLMENTS])


def test_a_course_without_requirements_has_no_completions(canvas: str) -> None:
    message = '{"error": {"message": "No progress available because this course is not module based."}}'
    fault(canvas, {"route": "courses/3/bulk_user_progress", "kind": "status", "status": 400, "body": message})

    found = keys(pulled(adapter(canvas)), LmsEntity.COMPLETIONS)

    assert found == {key for key in expected(canvas)[LmsEntity.COMPLETIONS] if not key.endswith(":3")}
    lms = adapter(canvas)
    assert lms.probe() == []
    lms.close()


@pytest.mark.parametrize("many", [True, False])
def test_a_bulk_that_is_refused_in_passing_takes_no_completion_for_gone(canvas: str, *, many: bool) -> None:
    wanted = pulled(adapter(canvas))[LmsEntity.COMPLETIONS]
    of_course = [key for key in sorted(wanted) if key.endswith(":3")][: None if many else 4]
    refused = {"kind": "status", "status": 400, "body": "{}"}

    fault(canvas, {"route": "courses/3/bulk_user_progress", **refused})
    lms = adapter(canvas)
    assert fetched(lms, LmsEntity.COMPLETIONS, *of_course).items() >= {key: wanted[key] for key in of_course}.items()
    lms.close()


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("many", [True, False])
def test_of_progress_that_is_refused_nothing_is_said(canvas: str, status: int, *, many: bool) -> None:
    of_course = [key for key in sorted(pulled(adapter(canvas))[LmsEntity.COMPLETIONS]) if key.endswith(":3")]
    asked = of_course[: None if many else 4]
    refused = {"kind": "status", "status": 400, "body": "{}"}
    fault(
        canvas,
        {"route": "courses/3/bulk_user_progress", **refused},
        {"route": "courses/3/users/.*/progress", **refused, "status": status},
    )

    lms = adapter(canvas)
    assert fetched(lms, LmsEntity.COMPLETIONS, *asked, "987654:3") == (
        {"987654:3": RawRecord("987654:3", None, is_deleted=True)}
    )
    lms.close()
    calls = requests(canvas)["GET /api/v1/courses/{course_id}/users/{user_id}/progress"][str(status)]
    assert calls <= 4, "what one of them tells isn't asked of all"


def test_an_enrollment_that_isn_t_found_of_somebody_who_is_there_is_not_gone(canvas: str) -> None:
    some = sorted(pulled(adapter(canvas))[LmsEntity.ENROLLMENTS])[:2]
    course = some[0].split(":")[1]
    fault(canvas, {"route": f"courses/{course}/enrollments", "kind": "status", "status": 404, "body": "{}"})

    lms = adapter(canvas)
    with pytest.raises(ProtocolError, match="answers 404"):
        fetched(lms, LmsEntity.ENROLLMENTS, some[0])
    lms.close()


def enrolled(own: int, state: str, score: float | None, changed: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    grades = {"current_score": score, "final_score": score, "current_grade": None}
    return {
        "id": own,
        "user_id": 7,
        "type": "StudentEnrollment",
        "enrollment_state": state,
        "updated_at": changed,
        "grades": grades,
    }


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([enrolled(1, "active", 80), enrolled(2, "completed", 40)], 80),
        ([enrolled(1, "completed", 40), enrolled(2, "active", 80)], 80),
        ([enrolled(1, "active", 80), enrolled(2, "inactive", 40), enrolled(3, "invited", 30)], 80),
        ([enrolled(1, "active", 80, "2026-02-01T00:00:00Z"), enrolled(2, "active", 40)], 80),
        ([enrolled(2, "active", 80), enrolled(1, "active", 40)], 80),
        ([enrolled(1, "active", None), enrolled(2, "completed", 40)], 40),
        ([enrolled(1, "deleted", 90), enrolled(2, "completed", 40)], 40),
    ],
)
def test_of_two_enrollments_the_score_of_the_more_active_one_counts(
    canvas: str, rows: list[dict[str, Any]], counts: float
) -> None:
    body = orjson.dumps(rows).decode()
    fault(canvas, {"route": "courses/3/enrollments", "kind": "replace", "status": 200, "body": body})

    found = pulled(adapter(canvas, activities=False), [LmsEntity.SCORES])[LmsEntity.SCORES]

    assert found["7:3:course"].payload["grades"]["current_score"] == counts


def test_without_the_bulk_call_progress_is_read_learner_by_learner(canvas: str) -> None:
    in_bulk = pulled(adapter(canvas))
    fault(canvas, {"route": "bulk_user_progress", "kind": "status", "status": 404, "body": "{}"})

    assert pulled(adapter(canvas)) == in_bulk


def test_a_course_that_goes_while_it_is_read_ends_nothing(canvas: str) -> None:
    fault(canvas, {"route": "/courses/3(/enrollments)?$", "kind": "status", "status": 404, "body": "{}"})

    found = pulled(adapter(canvas))

    assert {key.split(":")[1] for key in found[LmsEntity.ENROLLMENTS]} == {"1", "2", "4", "5"}


@pytest.mark.parametrize("part", ["enrollments", "assignments", "students/submissions", "outcome_results"])
def test_a_missing_part_of_a_course_that_is_there_is_an_error(canvas: str, part: str) -> None:
    fault(canvas, {"route": f"courses/3/{part}", "kind": "status", "status": 404, "body": "{}"})

    with pytest.raises(ProtocolError, match="answers 404"):
        pulled(adapter(canvas))


def test_a_bucket_that_runs_low_is_left_to_fill_up(canvas: str) -> None:
    few = [LmsEntity.LEARNERS, LmsEntity.COURSES, LmsEntity.ENROLLMENTS]
    wanted = pulled(adapter(canvas), few)
    # It would be empty after some ten calls.
    options = {"rate_limit": 200, "rate_limit_outflow": 100, "request_cost": 18}
    httpx.post(f"{canvas}/_sandbox/options", json=options).raise_for_status()

    assert pulled(adapter(canvas, concurrency=1), few) == wanted
    assert [route for route, statuses in requests(canvas).items() if "403" in statuses] == []


@pytest.mark.parametrize(
    ("remaining", "seconds"),
    [(None, 0), ("700.0", 0), ("100.0", 0), ("99.9", 0.01), ("40", 6), ("-90", 19), ("odd", 0), ("-1e9", 60)],
)
def test_how_long_a_low_bucket_is_left_alone(remaining: str | None, seconds: float) -> None:
    assert pause_seconds(remaining) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "status", "status": 503, "body": "<html>"},
        {"kind": "status", "status": 403, "body": "403 Forbidden (Rate Limit Exceeded)\n"},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
        {"kind": "cut_after"},
        {"kind": "replace", "status": 200, "body": "<html>gateway</html>"},
        {"kind": "replace", "status": 200, "body": '[{"id": '},
    ],
)
def test_passing_trouble_loses_and_doubles_nothing(canvas: str, trouble: dict[str, object]) -> None:
    wanted = pulled(adapter(canvas))
    fault(canvas, {"route": "/api/v1/", "share": 0.3, "times": 12, **trouble}, seed=3)

    with stamina.set_testing(True, attempts=20):
        assert pulled(adapter(canvas)) == wanted


def test_trouble_that_stays_is_retriable_not_an_empty_course(canvas: str) -> None:
    fault(canvas, {"route": "courses/3/enrollments", "kind": "status", "status": 500})

    with stamina.set_testing(True, attempts=2), pytest.raises(RetryableError, match="answers 500"):
        pulled(adapter(canvas))


def test_pages_that_go_round_in_a_circle_are_noticed(canvas: str) -> None:
    link = {"Link": f'<{canvas}/api/v1/accounts/self/users?page=bookmark:x>; rel="next"'}
    body = '[{"id": 1}, {"id": 2}]'
    fault(canvas, {"route": "/accounts/self/users", "kind": "status", "status": 200, "body": body, "headers": link})

    with pytest.raises(ProtocolError, match=r"/accounts/self/users names a page again .*the paging never ends"):
        pulled(adapter(canvas))


def test_new_pages_of_the_same_rows_are_noticed(canvas: str) -> None:
    def page(number: int) -> dict[str, Any]:
        link = {"Link": f'<{canvas}/api/v1/accounts/self/users?page=bookmark:{number}>; rel="next"'}
        body = f'[{{"id": 1, "at": {number}}}, {{"id": 2}}]'
        answer = {"kind": "status", "status": 200, "body": body, "headers": link}
        return {"route": "/accounts/self/users", **answer, "times": 1, "skip": number}

    fault(canvas, *map(page, range(60)))

    with pytest.raises(ProtocolError, match="/accounts/self/users gives the same rows on page after page"):
        pulled(adapter(canvas))


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("users/self", "[]"),
        ("users/self", "{}"),
        ("accounts/self/users", "{}"),
        ("accounts/self/courses", '{"courses": []}'),
        ("courses/3/enrollments", "3"),
        ("courses/3/bulk_user_progress", '{"progress": {}}'),
        ("courses/3/assignments", "null"),
        ("courses/3/students/submissions", '"none"'),
        ("courses/3/outcome_results", "[]"),
        ("courses/3/outcome_results", '{"rollups": []}'),
    ],
)
def test_a_wrong_shape_is_named(canvas: str, route: str, body: str) -> None:
    fault(canvas, {"route": route, "kind": "replace", "status": 200, "body": body})

    with pytest.raises(ProtocolError, match=r"Canvas|answers"):
        pulled(adapter(canvas))


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("accounts/self/users", '[null, {}, {"id": null}, {"id": true}, [], "x", {"id": 4}]'),
        ("accounts/self/courses", '[null, {}, {"id": []}, {"id": 4}]'),
        ("courses/3/enrollments", '[null, {}, {"id": 1}, {"user_id": 2}, 7]'),
        ("courses/3/bulk_user_progress", '[null, {}, {"id": 1}, {"id": 2, "progress": 7}, {"progress": {}}]'),
        ("courses/3/assignments", "[null, {}, 7]"),
        ("courses/3/students/submissions", '[null, {}, {"user_id": 1, "score": 3}, {"score": 1}]'),
        (
            "courses/3/outcome_results",
            '{"outcome_results": [null, {}, {"id": 1, "links": {"user": null}}, {"links": 3}], "linked": [1]}',
        ),
        (
            "courses/3/outcome_results",
            '{"outcome_results": [{"id": 1, "links": {"user": "7", "learning_outcome": "1"}}], "linked": {"outcomes": [null, {"id": 1}], "outcome_paths": [{"id": 1, "parts": [null, {}]}]}}',
        ),
    ],
)
def test_a_malformed_row_ends_nothing(canvas: str, route: str, body: str) -> None:
    fault(canvas, {"route": route, "kind": "replace", "status": 200, "body": body})

    found = pulled(adapter(canvas))

    assert all(isinstance(key, str) and key for rows in found.values() for key in rows)


def test_a_wrong_address_is_an_error_to_mend(canvas: str, unused_port: int) -> None:
    for lms, error, words in (
        (adapter(f"http://127.0.0.1:{unused_port}"), WrongAddressError, "nothing answers"),
        (adapter(canvas, account="77"), WrongAddressError, r"check source\.account"),
        (adapter(canvas, token="env:WRONG_TOKEN"), CredentialError, r"check source\.token"),
    ):
        with pytest.raises(LmsCrmError, match=words) as caught:
            lms.probe()
        lms.close()
        assert isinstance(caught.value, error)
        assert "wrong-token-value" not in str(caught.value)
