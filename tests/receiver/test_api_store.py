"""Idempotency keys and rates in the operational store, wherever it lies, used by several at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lms_crm_assets.ops.allowance import Allowance
from lms_crm_assets.ops.answers import API, KEPT_SECONDS
from lms_crm_assets.receiver.idempotency import RUNNING_SECONDS, Answer, Claim, IdempotencyKeys
from lms_crm_assets.receiver.problems import Problem
from tests.postgres import Place

ANSWER = Answer(200, {"Content-Type": "application/json"}, bytes(range(256)))


class _Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_of_many_who_claim_a_key_at_once_one_runs_it(place: Place) -> None:
    stores = [place.store(schema=API) for _ in range(2)]

    def claim(number: int) -> Claim | Answer | int:
        try:
            return IdempotencyKeys(stores[number % 2]).claim("acme route", "key", "content")
        except Problem as exc:
            return exc.status

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(claim, range(40)))
    [mine] = [each for each in found if isinstance(each, Claim)]
    assert set(found) - {mine} == {409}
    assert IdempotencyKeys(stores[0]).finish(mine, ANSWER) == ANSWER
    assert claim(1) == ANSWER
    with pytest.raises(Problem, match="another content"):
        IdempotencyKeys(stores[1]).claim("acme route", "key", "other")


def test_a_key_goes_through_its_states(place: Place) -> None:
    clock = _Clock()
    keys = IdempotencyKeys(place.store(clock, API))
    first = keys.claim("scope", "key", "content")
    assert isinstance(first, Claim)
    clock.now += RUNNING_SECONDS + 1
    second = keys.claim("scope", "key", "content")
    assert isinstance(second, Claim)
    assert (second.nonce, second.owner == first.owner) == (first.nonce, False)
    keys.release(first)  # it is no longer its own
    assert keys.finish(second, ANSWER) == ANSWER
    clock.now += KEPT_SECONDS + 1
    third = keys.claim("scope", "key", "other content")
    assert isinstance(third, Claim)
    assert third.nonce != first.nonce, "another request, another delivery"
    keys.release(third)
    assert isinstance(keys.claim("scope", "key", "content"), Claim)


def test_two_receivers_share_a_rate(place: Place) -> None:
    clock = _Clock()
    allowances = [Allowance(place.store(clock, API), "client", 5, 10) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda number: allowances[number % 2].take().allowed, range(40)))
    assert sum(taken) == 10
