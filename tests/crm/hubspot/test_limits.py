"""The pace and the day's calls follow what the portal's headers tell."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from lms_crm_assets.contract.models import Contract, Guardrails
from lms_crm_assets.crm.hubspot import HubSpotAdapter, client
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import QuotaReachedError
from lms_crm_assets.ops.gate import Pool
from lms_crm_assets.ops.store import OperationalStore
from tests.conftest import empty_store
from tests.crm.hubspot.portal import adapter, configure, globex, reset, spec_of
from tests.sandbox_control import fault, requests

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
CONTACT, ENROLLMENT = spec_of(CrmObject.CONTACT), spec_of(CrmObject.ENROLLMENT)


def half() -> Contract:
    """Of which half of the day's calls are for others."""
    return globex().model_copy(update={"guardrails": Guardrails(quota_share=0.5)})


def read_many(crm: HubSpotAdapter, times: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: crm.read(CONTACT, ["nobody"]), range(times)))


def refused(sandbox: Sandbox) -> int:
    return sum(by_status.get("429", 0) for by_status in requests(sandbox.hubspot).values())


def test_a_limit_that_is_halved_is_kept_to(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, requests_per_10_seconds=60)
    with adapter(globex()) as crm:
        crm.probe()
        read_many(crm, 20)
        configure(sandbox.hubspot, requests_per_10_seconds=30)
        crm.probe()  # its headers tell
        started = time.monotonic()
        read_many(crm, 20)

        assert time.monotonic() - started > 5
        assert crm.traffic["rate_limited"] == refused(sandbox) == 0


def test_the_limit_is_learned_from_refusals_too(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, requests_per_10_seconds=10)
    busy = {
        "route": "batch/read",
        "kind": "status",
        "status": 429,
        "body": "{}",
        "headers": {"X-HubSpot-RateLimit-Max": "10", "X-HubSpot-RateLimit-Interval-Milliseconds": "10000"},
        "times": 1,
    }
    fault(sandbox.hubspot, busy)
    with adapter(globex()) as crm:
        read_many(crm, 12)

        assert crm.traffic["rate_limited"] == refused(sandbox) == 1


def test_links_keep_to_a_limit_of_their_own(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(client._POOLS, "associations", Pool(10, 10.0, is_part=True))
    reset(sandbox.hubspot, associations_per_10_seconds=10)
    with adapter(globex()) as crm, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: crm._links.linked("contacts", "0-410", ["1"]), range(12)))

        assert crm.traffic["rate_limited"] == refused(sandbox) == 0
        assert crm.traffic["calls"] == 12


def test_the_days_calls_are_told_and_a_share_is_left_for_others(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, daily_limit=10)
    with adapter(half()) as crm:
        assert crm.quota() == (1, 10)
        for _ in range(4):
            crm.read(CONTACT, ["nobody"])
        with pytest.raises(QuotaReachedError, match="5 of the 10 calls"):
            crm.read(CONTACT, ["nobody"])
        crm.probe()  # a person waits for it

        assert crm.quota() == (6, 10)


@pytest.fixture
def used_up(sandbox: Sandbox) -> OperationalStore:
    """A store that was told an hour ago that the share of the day is used up."""
    reset(sandbox.hubspot, daily_limit=10)
    store = empty_store()
    with adapter(half(), store) as crm:
        for _ in range(5):
            crm.read(CONTACT, ["nobody"])
    then = store.clock()
    store.clock = lambda: then + 3_600
    return store


def test_of_a_share_that_was_used_up_a_search_that_tells_nothing_asks_first(
    sandbox: Sandbox, used_up: OperationalStore
) -> None:
    with adapter(half(), used_up) as crm, pytest.raises(QuotaReachedError, match="6 of the 10 calls"):
        list(crm.changed_since(CONTACT, SINCE))
    assert not [route for route in requests(sandbox.hubspot) if route.endswith("/search")]


@pytest.mark.parametrize("trouble", [{"status": 503}, {"status": 423}, {"status": 200, "body": "<html>"}])
def test_asking_survives_what_passes_and_the_next_day_goes_on(
    sandbox: Sandbox, used_up: OperationalStore, trouble: dict[str, Any]
) -> None:
    reset(sandbox.hubspot, daily_limit=100)
    kind = "replace" if "body" in trouble else "status"
    fault(sandbox.hubspot, {"route": "GET .*/contacts$", "kind": kind, "times": 1, **trouble})

    with adapter(half(), used_up) as crm:
        list(crm.changed_since(CONTACT, SINCE))
    assert [route for route in requests(sandbox.hubspot) if route.endswith("/search")]


def test_what_was_told_a_day_ago_is_not_asked_for(sandbox: Sandbox, used_up: OperationalStore) -> None:
    # Of an app that is told nothing it would be asked for ever.
    then = used_up.clock()
    used_up.clock = lambda: then + 86_400
    reset(sandbox.hubspot)

    with adapter(half(), used_up) as crm:
        list(crm.changed_since(CONTACT, SINCE))
    assert not [route for route in requests(sandbox.hubspot) if route.startswith("GET")]


def test_the_days_last_call_is_told_by_the_refusal(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, daily_limit=0)
    with adapter(globex()) as crm:
        with pytest.raises(QuotaReachedError, match="the day's calls are used up"):
            crm.read(CONTACT, ["nobody"])
        assert refused(sandbox) == 1
        with pytest.raises(QuotaReachedError):
            crm.read(CONTACT, ["nobody"])
        assert refused(sandbox) == 1
