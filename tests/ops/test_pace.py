"""The contract's pace, counted from the other side: every request took a place, and no window held too many."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
from lms_crm_assets.ops.throttle import Throttle, shared_throttle

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import ChangesSource, CrmThrottle, LmsThrottle
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.lms.changes import ChangesAdapter
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.ops.patience import TRIES
from tests.conftest import TENANTS
from tests.sandbox_control import fault, requests


def school(sandbox: Sandbox, rate: float | None, **changes: Any) -> ChangesAdapter:
    values = {"adapter": "changes", "url": sandbox.school, "token": "env:GLOBEX_LMS_TOKEN", **changes}
    return ChangesAdapter(ChangesSource.model_validate(values), LmsThrottle(calls_per_second=rate))


def pages(lms: ChangesAdapter) -> Iterator[Page]:
    with closing(lms):
        yield from lms.pull([LmsEntity.LEARNERS], None)


def answered(address: str) -> int:
    return sum(sum(by_status.values()) for by_status in requests(address).values())


@pytest.mark.parametrize("rate", [8.0, 2.5])
def test_the_lms_is_asked_no_faster_than_the_contract_says(sandbox: Sandbox, rate: float) -> None:
    moments = [time.monotonic() for _ in pages(school(sandbox, rate, page_size=int(80 / rate)))]

    assert len(moments) > 2 * rate
    # `int(rate)` calls leave at once; a page comes a little after its call, so that gaps are measured over windows.
    burst = int(rate)
    for early, late in zip(moments, moments[burst:], strict=False):
        assert late - early > burst / rate - 0.25


def test_without_a_limit_the_lms_is_asked_as_fast_as_it_answers(sandbox: Sandbox) -> None:
    moments = [time.monotonic() for _ in pages(school(sandbox, None, page_size=15))]

    assert min(late - early for early, late in pairwise(moments)) < 0.25


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_every_request_to_the_crm_takes_a_place(sandbox: Sandbox, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = {"acme": sandbox.salesforce, "globex": sandbox.hubspot}[tenant]
    contract = load_contract(TENANTS, tenant)
    slow = contract.throttle.model_copy(update={"crm": CrmThrottle(calls_per_10_seconds=7)})
    taken: list[int | None] = []
    monkeypatch.setattr(Throttle, "wait", lambda throttle: taken.append(throttle._calls))
    crm = crm_adapter(contract.model_copy(update={"throttle": slow}))
    try:
        crm.probe()
        spec = object_spec(contract, CrmObject.CONTACT)
        list(crm.snapshot(spec))
        crm.read(spec, ["1", "2"])
    finally:
        crm.close()

    assert taken == [7] * answered(address)
    assert crm.calls_per_second == 0.7


def test_one_window_is_shared_by_all_who_talk_to_one_system() -> None:
    first = shared_throttle("https://crm.example", "credential", 3)

    assert shared_throttle("https://crm.example", "credential", 3) is first
    assert shared_throttle("https://crm.example", "another", 3) is not first
    assert [first._take() > 0 for _ in range(4)] == [False, False, False, True]


def test_a_rate_limit_of_the_lms_is_waited_out_and_uses_up_no_try(sandbox: Sandbox) -> None:
    fault(
        sandbox.school,
        {
            "route": "/api/v1/learners",
            "kind": "status",
            "status": 429,
            "times": 2 * TRIES,
            "headers": {"Retry-After": "0"},
        },
    )
    assert sum(len(page.records) for page in pages(school(sandbox, None))) > 0

    answers = Counter[str]()
    for by_status in requests(sandbox.school).values():
        answers.update(by_status)
    assert answers["429"] == 2 * TRIES
