"""The chaos scenarios in short; `make chaos` runs them at full length."""

import random
from itertools import cycle

import pytest

from tests.chaos import scenarios
from tests.chaos.scenarios import FAULTS, Result
from tests.chaos.tenant import Crm

pytestmark = pytest.mark.slow

SEED = random.randrange(10**6)


def judged(result: Result) -> None:
    assert result.ok, f"seed {SEED}: {result.as_json()}"


@pytest.mark.parametrize(
    ("crm", "bulk"), [pytest.param("salesforce", True, marks=pytest.mark.long), ("hubspot", False)]
)
def test_a_killed_run_loses_nothing_and_doubles_nothing(crm: Crm, bulk: bool) -> None:  # noqa: FBT001 - a parameter
    judged(scenarios.kills(crm, 2, SEED, bulk=bulk))


@pytest.mark.parametrize(("name", "crm"), list(zip(FAULTS, cycle(["salesforce", "hubspot"]), strict=False)))
def test_faults_change_the_end_state_in_nothing(crm: Crm, name: str) -> None:
    judged(scenarios.faulty(crm, name, FAULTS[name], SEED))


@pytest.mark.parametrize(
    ("crm", "bulk"),
    [
        pytest.param("salesforce", False, marks=pytest.mark.long),
        pytest.param("salesforce", True, marks=pytest.mark.long),
        ("hubspot", False),
    ],
)
def test_one_bad_record_of_two_hundred_costs_itself_alone(crm: Crm, bulk: bool) -> None:  # noqa: FBT001 - a parameter
    judged(scenarios.poison(crm, bulk=bulk))


@pytest.mark.parametrize("crm", ["salesforce"])
def test_a_token_that_ends_every_fifty_calls_is_refreshed_once_each_time(crm: Crm) -> None:
    judged(scenarios.expiring(crm))


@pytest.mark.long
def test_a_limit_that_is_halved_midway_is_kept() -> None:
    judged(scenarios.halved())
