"""Each protocol's school over real HTTP, and a warehouse that a first pull has filled."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import stamina

from lms_crm_assets.lms.ingest import Ingested
from lms_crm_assets.lms.protocol import LmsAdapter
from lms_crm_assets.ops import tokens
from lms_crm_assets.sandbox.core import Simulator
from tests.conftest import empty_store
from tests.lms.contract.protocols import ENVIRON, PROTOCOLS, START, Protocol
from tests.lms.contract.warehouse import Warehouse
from tests.sandbox_control import fault
from tests.simulator_server import serving

SIZE: dict[str, Any] = {"learners": 40, "courses": 3, "enrollments": 80, "start": START}


@dataclass
class Lms:
    """A served school and how it is read."""

    protocol: Protocol
    simulator: Any
    address: str
    folder: Path
    made: list[LmsAdapter] = field(default_factory=list)

    def adapter(self, **changes: Any) -> LmsAdapter:
        """An adapter, closed after the test; `changes` of its source."""
        found = self.protocol.adapter(self.address, empty_store(), **changes)
        self.made.append(found)
        return found

    @property
    def warehouse(self) -> Warehouse:
        """The test's warehouse."""
        return Warehouse(self.folder, self.protocol.entities)

    def pull(self, *, full: bool = True, **changes: Any) -> Ingested:
        """A pull into the warehouse."""
        with closing(self.adapter(**changes)) as adapter:
            return self.warehouse.pull(adapter, full=full, max_shrink_share=1.0)

    def edit(self, seed: int = 0) -> Any:
        """Somebody who edits it."""
        return self.protocol.editor(self.simulator, random.Random(seed))


@pytest.fixture(scope="module")
def _simulators() -> Iterator[Callable[[Protocol], tuple[Simulator, str]]]:
    """One server a protocol for the whole module: its school starts over for each test."""
    with ExitStack() as stack:
        served: dict[str, tuple[Any, str]] = {}

        def of(protocol: Protocol) -> tuple[Any, str]:
            if protocol.name not in served:
                simulator = protocol.simulator(SIZE)
                served[protocol.name] = simulator, stack.enter_context(serving(simulator))
            return served[protocol.name]

        yield of


@pytest.fixture(params=list(PROTOCOLS.values()), ids=list(PROTOCOLS))
def lms(
    request: pytest.FixtureRequest,
    _simulators: Callable[[Protocol], tuple[Any, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Lms]:
    """The protocol's school in its initial state, without faults; tries are made without waits."""
    monkeypatch.setattr(tokens, "_shared", {})
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    simulator, address = _simulators(request.param)
    simulator.reset({})
    fault(address)
    found = Lms(request.param, simulator, address, tmp_path)
    with stamina.set_testing(True, attempts=9):
        yield found
    fault(address)
    for adapter in found.made:
        adapter.close()
