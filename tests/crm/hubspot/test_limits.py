"""The pace and the day's calls follow what the portal's headers tell."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from lms_crm_assets.contract.models import Guardrails
from lms_crm_assets.crm.hubspot import HubSpotAdapter, client
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import QuotaReachedError
from lms_crm_assets.ops.gate import Pool
from tests.conftest import empty_store
from tests.crm.hubspot.portal import adapter, configure, globex, reset, spec_of
from tests.sandbox_control import fault, requests

CONTACT, ENROLLMENT = spec_of(CrmObject.CONTACT), spec_of(CrmObject.ENROLLMENT)


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
    contract = globex().model_copy(update={"guardrails": Guardrails(quota_share=0.5)})
    with adapter(contract) as crm:
        assert crm.quota() == (1, 10)
        for _ in range(4):
            crm.read(CONTACT, ["nobody"])
        with pytest.raises(QuotaReachedError, match="5 of the 10 calls"):
            crm.read(CONTACT, ["nobody"])
        crm.probe()  # a person waits for it

        assert crm.quota() == (6, 10)


def test_a_share_that_was_used_up_long_ago_is_asked_for_before_a_search_that_tells_nothing(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, daily_limit=10)
    contract = globex().model_copy(update={"guardrails": Guardrails(quota_share=0.5)})
    store = empty_store()
    with adapter(contract, store) as crm:
        for _ in range(5):
            crm.read(CONTACT, ["nobody"])

    now = store.clock()
    store.clock = lambda: now + 3_600
    with (
        adapter(contract, store) as crm,
        pytest.raises(QuotaReachedError, match="6 of the 10 calls"),
    ):
        list(crm.changed_since(CONTACT, datetime(2026, 1, 1, tzinfo=UTC)))
    assert not [route for route in requests(sandbox.hubspot) if route.endswith("/search")]

    store.clock = lambda: now + 7_200
    reset(sandbox.hubspot, daily_limit=100)  # the next day
    with adapter(contract, store) as crm:
        list(crm.changed_since(CONTACT, datetime(2026, 1, 1, tzinfo=UTC)))


def test_the_days_last_call_is_told_by_the_refusal(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, daily_limit=0)
    with adapter(globex()) as crm:
        with pytest.raises(QuotaReachedError, match="the day's calls are used up"):
            crm.read(CONTACT, ["nobody"])
        assert refused(sandbox) == 1
        with pytest.raises(QuotaReachedError):
            crm.read(CONTACT, ["nobody"])
        assert refused(sandbox) == 1
