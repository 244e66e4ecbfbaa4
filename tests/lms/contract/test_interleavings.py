"""A few of the interleavings; `python -m tests.chaos --only interleavings` makes a thousand."""

import random

import pytest

from tests.lms.contract.interleavings import interleave
from tests.lms.contract.protocols import PROTOCOLS, Protocol

pytestmark = pytest.mark.slow

SEED = random.randrange(10**6)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_edits_between_the_requests_of_a_pull_lose_nothing_and_double_nothing(protocol: Protocol) -> None:
    found = interleave(protocol, 3, SEED)

    assert not found.problems, f"seed {SEED}: {found}"
    assert (found.lost, found.doubled, found.wrong) == (0, 0, 0)
    # As many as it came to at random between a few requests.
    assert found.edits > 0
