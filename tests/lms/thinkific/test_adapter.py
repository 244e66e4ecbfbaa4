"""The Thinkific adapter against a simulated Thinkific: complete, exact by key, and clear about what is wrong."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
import stamina

from lms_crm_assets.contract.models import LmsThrottle, ThinkificSource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import (
    CredentialError,
    LmsCrmError,
    PermissionMissingError,
    ProtocolError,
    RetryableError,
    WrongAddressError,
)
from lms_crm_assets.lms.thinkific import ThinkificAdapter
from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.thinkific import ThinkificSimulator
from tests.conftest import empty_store
from tests.lms.pulls import ALL, Rows, by_key, fetched, pulled
from tests.sandbox_control import fault, mutate, records, requests
from tests.simulator_server import serving

LEARNERS, COURSES = LmsEntity.LEARNERS, LmsEntity.COURSES
ENROLLMENTS, COMPLETIONS = LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS
GIVEN = [LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(ThinkificSimulator(learners=260, courses=5, enrollments=420)) as found:
        yield found


@pytest.fixture
def thinkific(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A simulated Thinkific in its initial state, and the environment that holds its credentials."""
    httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    fault(address)
    for name, value in {
        "THINKIFIC_KEY": "sandbox-thinkific-key",
        "THINKIFIC_TOKEN": "sandbox-thinkific-token",
        "POOR_TOKEN": "poor",
        "WRONG_KEY": "wrong-key-value",
    }.items():
        monkeypatch.setenv(name, value)
    return address


def adapter(address: str, **changes: Any) -> ThinkificAdapter:
    values = {"adapter": "thinkific", "url": address, "subdomain": "sandbox", "api_key": "env:THINKIFIC_KEY"}
    source = ThinkificSource.model_validate({**values, **changes})
    # Thinkific's own pace, two calls a second, is for the real one.
    return ThinkificAdapter(source, LmsThrottle(calls_per_second=1000), empty_store())


def numbers(address: str, kind: str, *gone: str) -> set[str]:
    """The ids of the school's rows in Thinkific, but for those with one of these statuses."""
    return {str(integer_id(row["id"])) for row in records(address, kind) if row.get("status") not in gone}


def scripted(path: str, *rows: Any, total: int | None = None, pages: int = 1, page: int = 1) -> dict[str, Any]:
    """A fault by which a listing is answered with these rows."""
    count = len(rows) if total is None else total
    pagination = {"current_page": page, "total_pages": pages, "total_items": count}
    body = orjson.dumps({"items": rows, "meta": {"pagination": pagination}}).decode()
    return {"route": f"v1/{path}$", "kind": "status", "status": 200, "body": body}


@pytest.mark.parametrize("page_size", [7, 250])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_pull_gives_what_the_school_has_at_any_page_size(thinkific: str, page_size: int, concurrency: int) -> None:
    found = pulled(adapter(thinkific, page_size=page_size, concurrency=concurrency))

    assert set(found) == set(GIVEN)
    assert set(found[LEARNERS]) == numbers(thinkific, "learners", "deleted")
    assert set(found[COURSES]) == numbers(thinkific, "courses")
    assert set(found[ENROLLMENTS]) == set(found[COMPLETIONS]) <= numbers(thinkific, "enrollments", "withdrawn")
    assert len(found[ENROLLMENTS]) > 350


def test_either_credential_reads_the_same(thinkific: str) -> None:
    token = {"flow": "token", "token": "env:THINKIFIC_TOKEN", "subdomain": None, "api_key": None}

    assert pulled(adapter(thinkific, **token)) == pulled(adapter(thinkific))


def test_scores_and_competencies_are_none_of_thinkifics(thinkific: str) -> None:
    lms = adapter(thinkific)
    assert lms.capabilities.entities == set(GIVEN)
    assert list(lms.pull([LmsEntity.SCORES, LmsEntity.COMPETENCIES], None)) == []
    assert lms.capabilities.needs_full_sweep == set(GIVEN)
    lms.close()


def test_a_change_is_seen_by_its_enrollment_and_progress_alone(thinkific: str) -> None:
    lms = adapter(thinkific, overlap_seconds=60)
    row = next(row for row in records(thinkific, "enrollments") if row["status"] == "active")
    since = datetime(2030, 1, 1, tzinfo=UTC)
    for seconds, change in (
        (-61, {"object": "courses", "id": records(thinkific, "courses")[0]["id"]}),
        (-30, {"object": "enrollments", "id": row["id"]}),
    ):
        mutate(
            thinkific,
            op="update",
            fields={},
            updated_at=f"{since + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}",
            **change,
        )

    pages = list(lms.pull(ALL, since))
    lms.close()

    number = str(integer_id(row["id"]))
    found = by_key(pages)
    assert set(found[ENROLLMENTS]) == set(found[COMPLETIONS]) == {number}
    assert set(found[LEARNERS]) == numbers(thinkific, "learners", "deleted"), "what has no time of change comes whole"
    assert max(page.latest for page in pages if page.latest) == since - timedelta(seconds=30)
    assert not [page for page in pages if page.entity is ENROLLMENTS and page.total is not None]


@pytest.mark.parametrize("entity", GIVEN)
def test_a_row_fetched_by_its_key_is_the_row_that_a_pull_gave(thinkific: str, entity: LmsEntity) -> None:
    whole = pulled(adapter(thinkific))[entity]
    some = sorted(whole)[:30]

    lms = adapter(thinkific)
    found = fetched(lms, entity, *some, "987654321", "(row 3 has no id)", "../users")
    lms.close()

    assert {key: found[key] for key in some} == {key: whole[key] for key in some}
    assert {key for key, record in found.items() if record.is_deleted} == {"987654321", "(row 3 has no id)", "../users"}


def test_what_is_gone_is_fetched_as_deleted(thinkific: str) -> None:
    row = next(row for row in records(thinkific, "enrollments") if row["status"] == "active")
    mutate(thinkific, object="enrollments", op="delete", id=row["id"])
    number = str(integer_id(row["id"]))

    lms = adapter(thinkific)
    for entity in (ENROLLMENTS, COMPLETIONS):
        assert fetched(lms, entity, number)[number].is_deleted
    lms.close()


def test_another_row_than_was_asked_for_is_no_answer(thinkific: str) -> None:
    fault(thinkific, {"route": "v1/users/12$", "kind": "status", "status": 200, "body": '{"id": 13}'})
    lms = adapter(thinkific)
    with pytest.raises(ProtocolError, match="something else"):
        fetched(lms, LEARNERS, "12")
    lms.close()


def test_without_the_listing_a_row_that_is_missing_is_not_gone(thinkific: str) -> None:
    fault(thinkific, {"route": "/api/public/", "kind": "status", "status": 404, "body": "{}"})
    lms = adapter(thinkific)
    with pytest.raises(ProtocolError, match="answers 404"):
        fetched(lms, LEARNERS, "1", "2")
    lms.close()


def test_a_refused_fetch_takes_nothing_for_gone(thinkific: str) -> None:
    fault(thinkific, {"route": "v1/users/", "kind": "status", "status": 403, "body": "{}"})
    lms = adapter(thinkific)
    with pytest.raises(PermissionMissingError):
        fetched(lms, LEARNERS, "1", "2")
    lms.close()


def test_the_number_of_rows_is_told_once_a_listing_is_whole(thinkific: str) -> None:
    lms = adapter(thinkific, page_size=50)
    pages = list(lms.pull([LEARNERS], None))
    lms.close()

    assert [page.total for page in pages if page.total is not None] == [len(numbers(thinkific, "learners", "deleted"))]


def test_a_row_that_slipped_between_two_pages_is_found_by_reading_again(thinkific: str) -> None:
    fault(
        thinkific,
        {**scripted("users", {"id": 1}, {"id": 2}, total=3, pages=1), "times": 1},
        {**scripted("users", {"id": 3}, {"id": 2}, total=3, pages=1), "times": 1, "skip": 1},
    )

    assert set(pulled(adapter(thinkific), [LEARNERS])[LEARNERS]) == {"1", "2", "3"}


def test_a_listing_that_stays_short_is_no_listing(thinkific: str) -> None:
    fault(thinkific, scripted("users", {"id": 1}, {"id": 2}, total=3))

    with pytest.raises(RetryableError, match="gives 2 rows of users where it says it has 3: nothing was changed"):
        pulled(adapter(thinkific), [LEARNERS])
    assert requests(thinkific)["GET /api/public/v1/users"]["200"] == 3


def test_rows_that_come_while_it_is_read_are_read_too(thinkific: str) -> None:
    fault(
        thinkific,
        {**scripted("users", {"id": 1}, total=2, pages=2), "times": 1},
        {**scripted("users", {"id": 2}, total=3, pages=3, page=2), "times": 1, "skip": 1},
        {**scripted("users", {"id": 3}, total=3, pages=3, page=3), "times": 1, "skip": 2},
    )

    found = pulled(adapter(thinkific, concurrency=1), [LEARNERS])

    assert set(found[LEARNERS]) == {"1", "2", "3"}
    assert requests(thinkific)["GET /api/public/v1/users"]["200"] == 3


def test_a_site_that_ignores_the_page_is_noticed(thinkific: str) -> None:
    fault(thinkific, scripted("users", {"id": 1}, total=2, pages=2))

    with pytest.raises(ProtocolError, match="asked for page 2 of users and gives page 1: the paging never ends"):
        pulled(adapter(thinkific, concurrency=1), [LEARNERS])


@pytest.mark.parametrize("rows", [[{"id": 1}], []])
def test_a_listing_whose_end_moves_away_is_noticed(thinkific: str, rows: list[Any]) -> None:
    pages = (
        {**scripted("users", *rows, total=9, pages=n + 1, page=n), "times": 1, "skip": n - 1} for n in range(1, 60)
    )
    fault(thinkific, *pages)

    with pytest.raises(ProtocolError, match="no other rows of users on page after page: the paging never ends"):
        pulled(adapter(thinkific, concurrency=1), [LEARNERS])
    assert requests(thinkific)["GET /api/public/v1/users"]["200"] < 30


def test_an_empty_site_is_an_empty_listing(thinkific: str) -> None:
    fault(thinkific, scripted("users", pages=0))
    lms = adapter(thinkific)
    pages = list(lms.pull([LEARNERS], None))
    lms.close()

    assert [record for page in pages for record in page.records] == []
    assert {page.total for page in pages} == {0}


def test_a_full_minute_is_waited_out(thinkific: str) -> None:
    reset = str(int(datetime.now(UTC).timestamp()) + 1)
    fault(
        thinkific,
        {"route": "v1/users$", "kind": "status", "status": 429, "headers": {"RateLimit-Reset": reset}, "times": 1},
    )

    assert set(pulled(adapter(thinkific), [LEARNERS])[LEARNERS]) == numbers(thinkific, "learners", "deleted")


@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "status", "status": 503, "body": "<html>"},
        {"kind": "cut_after"},
        {"kind": "replace", "status": 200, "body": "<html>gateway</html>"},
        {"kind": "replace", "status": 200, "body": '{"items": ['},
    ],
)
def test_passing_trouble_loses_and_doubles_nothing(thinkific: str, trouble: dict[str, object]) -> None:
    wanted = pulled(adapter(thinkific))
    fault(thinkific, {"route": "/api/public/", "share": 0.3, "times": 12, **trouble}, seed=3)

    with stamina.set_testing(True, attempts=20):
        assert pulled(adapter(thinkific, page_size=40)) == wanted


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "null",
        "{}",
        '{"items": {}, "meta": {"pagination": {}}}',
        '{"items": [], "meta": []}',
        '{"items": [], "meta": {"pagination": {"current_page": 1, "total_pages": "1", "total_items": 0}}}',
        '{"items": [], "meta": {"pagination": {"current_page": 1, "total_pages": 1}}}',
    ],
)
def test_a_wrong_shape_is_named(thinkific: str, body: str) -> None:
    fault(thinkific, {"route": "v1/users$", "kind": "replace", "status": 200, "body": body})

    with pytest.raises(ProtocolError, match="Thinkific answers users without"):
        pulled(adapter(thinkific), [LEARNERS])


def test_a_malformed_row_is_kept_for_the_checks(thinkific: str) -> None:
    rows = [None, {}, {"id": None}, "x", {"id": 4, "updated_at": 3}, {"id": 5, "updated_at": "soon"}]
    fault(thinkific, scripted("enrollments", *rows))

    found: Rows = pulled(adapter(thinkific), [ENROLLMENTS])

    assert set(found[ENROLLMENTS]) == {*(f"(row {n} has no id)" for n in range(4)), "4", "5"}


def test_a_probe_tells_what_a_token_may_not_read(thinkific: str) -> None:
    lms = adapter(thinkific)
    assert lms.probe() == []
    lms.close()
    lms = adapter(thinkific, flow="token", token="env:POOR_TOKEN")
    said = lms.probe()
    lms.close()
    assert [line.partition(":")[0] for line in said] == [
        "the credential may not read users",
        "the credential may not read enrollments",
    ]


def test_who_may_read_nothing_gets_an_error_and_no_empty_school(thinkific: str) -> None:
    fault(thinkific, {"route": "/api/public/", "kind": "status", "status": 403, "body": "{}"})
    lms = adapter(thinkific)
    uses: list[Callable[[], Any]] = [lms.probe, lambda: list(lms.pull(ALL, None))]
    for use in uses:
        with pytest.raises(PermissionMissingError):
            use()
    lms.close()


def test_a_wrong_address_is_an_error_to_mend(thinkific: str, unused_port: int) -> None:
    fault(thinkific, {"route": "v1/courses", "kind": "replace", "status": 200, "body": "[1]"})
    for lms, error, words in (
        (adapter(f"http://127.0.0.1:{unused_port}"), WrongAddressError, "nothing answers"),
        (adapter(thinkific), WrongAddressError, r"check source\.url"),
        (adapter(thinkific, api_key="env:WRONG_KEY"), CredentialError, r"check source\.subdomain and source\.api_key"),
    ):
        with pytest.raises(LmsCrmError, match=words) as caught:
            lms.probe()
        lms.close()
        assert isinstance(caught.value, error)
        assert "wrong-key-value" not in str(caught.value)
