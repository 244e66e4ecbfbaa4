"""The LMS adapters against the simulators: complete, count-checked, and clear about what is wrong."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import stamina

from lms_crm_assets.contract.models import ChangesSource, LmsThrottle, MoodleReports, MoodleSource
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import (
    CredentialError,
    FatalError,
    PermissionMissingError,
    ProtocolError,
    RetryableError,
    WrongAddressError,
)
from lms_crm_assets.lms.changes import ChangesAdapter
from lms_crm_assets.lms.moodle import MoodleAdapter, raise_for_exception
from lms_crm_assets.lms.protocol import LmsAdapter
from tests.conftest import empty_store
from tests.sandbox_control import fault, mutate, records, requests

ALL = list(LmsEntity)


def moodle(sandbox: Sandbox, **changes: object) -> LmsAdapter:
    values = {"adapter": "moodle", "url": sandbox.moodle, "token": "env:ACME_LMS_TOKEN", "timezone": "Europe/London"}
    reports = MoodleReports(participants=1, competencies=3)
    return MoodleAdapter(
        MoodleSource.model_validate({**values, "reports": reports, **changes}), LmsThrottle(), empty_store()
    )


def school(sandbox: Sandbox, **changes: object) -> LmsAdapter:
    values = {"adapter": "changes", "url": sandbox.school, "token": "env:GLOBEX_LMS_TOKEN"}
    return ChangesAdapter(ChangesSource.model_validate({**values, **changes}), LmsThrottle(), empty_store())


def pulled(adapter: LmsAdapter, since: datetime | None = None) -> Counter[str]:
    counts: Counter[str] = Counter()
    keys: set[tuple[str, str]] = set()
    try:
        for page in adapter.pull(ALL, since):
            counts[page.entity.value] += len(page.records)
            keys.update((page.entity.value, record.source_id) for record in page.records)
    finally:
        adapter.close()
    assert since is not None or len(keys) == counts.total()
    return counts


def test_moodle_gives_the_recordings_whole(sandbox: Sandbox) -> None:
    assert pulled(moodle(sandbox)) == {
        "learners": 203,
        "courses": 6,
        "enrollments": 456,
        "completions": 456,
        "scores": 327,
        "competencies": 374,
    }


@pytest.mark.parametrize("page_size", [7, 1000])
def test_the_changes_contract_gives_all_rows_at_any_page_size(sandbox: Sandbox, page_size: int) -> None:
    expected = {str(entity): len(records(sandbox.school, str(entity))) for entity in ALL}

    assert pulled(school(sandbox, page_size=page_size)) == expected


def test_the_change_feed_gives_what_changed_with_deletes(sandbox: Sandbox) -> None:
    first, second = records(sandbox.school, "learners")[:2]
    since = datetime.now(UTC) + timedelta(days=800)
    mutate(
        sandbox.school, object="learners", op="update", id=first["id"], fields={"country": "NO"},
        updated_at=f"{since + timedelta(1):%Y-%m-%dT%H:%M:%SZ}",
    )  # fmt: skip
    mutate(
        sandbox.school, object="learners", op="delete", id=second["id"],
        updated_at=f"{since + timedelta(2):%Y-%m-%dT%H:%M:%SZ}",
    )  # fmt: skip

    adapter = school(sandbox)
    found = [record for page in adapter.pull(ALL, since) for record in page.records]
    adapter.close()

    assert [(r.source_id, r.is_deleted) for r in found] == [(first["id"], False), (second["id"], True)]


def test_a_wrong_address_is_an_error_to_mend(sandbox: Sandbox, unused_port: int) -> None:
    nowhere = f"http://127.0.0.1:{unused_port}"
    for adapter in (moodle(sandbox, url=nowhere), school(sandbox, url=nowhere)):
        with pytest.raises(WrongAddressError, match=f"nothing answers at {nowhere}.*check source.url"):
            adapter.probe()
        adapter.close()


def test_another_system_at_the_address_is_noticed(sandbox: Sandbox) -> None:
    for adapter in (moodle(sandbox, url=sandbox.salesforce), school(sandbox, url=sandbox.hubspot)):
        with pytest.raises(FatalError):
            adapter.probe()
        adapter.close()


def test_a_refused_token_is_named(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG", "wrong-token-value")
    for adapter in (moodle(sandbox, token="env:WRONG"), school(sandbox, token="env:WRONG")):
        with pytest.raises(CredentialError, match=r"check source\.token") as caught:
            adapter.probe()
        adapter.close()
        assert "wrong-token-value" not in str(caught.value)


@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "status", "status": 503, "body": "<html>"},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
        {"kind": "cut_before"},
        {"kind": "cut_after"},
        {"kind": "replace", "status": 200, "body": "<html>gateway</html>"},
        {"kind": "replace", "status": 200, "body": '{"items": ['},
    ],
)
def test_passing_trouble_loses_and_doubles_nothing(sandbox: Sandbox, trouble: dict[str, object]) -> None:
    expected = pulled(school(sandbox, page_size=100))
    fault(sandbox.school, {"route": "/api/v1/", "share": 0.4, "times": 8, **trouble}, seed=3)

    with stamina.set_testing(True, attempts=9):
        assert pulled(school(sandbox, page_size=100)) == expected


def test_trouble_that_stays_is_retriable_not_an_empty_answer(sandbox: Sandbox) -> None:
    fault(sandbox.school, {"route": "/api/v1/enrollments", "kind": "status", "status": 500})

    with stamina.set_testing(True, attempts=2), pytest.raises(RetryableError, match="answers 500"):
        pulled(school(sandbox))


def test_a_redirect_gets_no_credential(sandbox: Sandbox) -> None:
    elsewhere = {"Location": f"{sandbox.hubspot}/stolen"}
    fault(sandbox.school, {"route": "/api/v1", "kind": "status", "status": 308, "headers": elsewhere})

    adapter = school(sandbox)
    with pytest.raises(FatalError, match="redirects elsewhere"):
        adapter.probe()
    adapter.close()
    assert requests(sandbox.hubspot) == {}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"exception": "x", "errorcode": "invalidtoken", "message": "m"}, CredentialError),
        ({"exception": "x", "errorcode": "accessexception", "message": "m"}, PermissionMissingError),
        ({"exception": "x", "errorcode": "dbconnectionfailed", "message": "m"}, RetryableError),
        ({"exception": "x", "errorcode": "invalidparameter", "message": "m"}, ProtocolError),
        ({"users": [], "warnings": [{"warningcode": "invalidfieldparameter", "message": "m"}]}, ProtocolError),
    ],
)
def test_moodle_errors_come_with_http_200(answer: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        raise_for_exception(answer)
    raise_for_exception({"users": [], "warnings": []})
    raise_for_exception([])
