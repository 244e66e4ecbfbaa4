"""Edits between the requests of a pull: whatever their order, nothing is lost, and the next pull holds the right state.

An interleaving is a pull during which somebody edits the school before any of its requests, with some probability; then
the editing stops and another pull follows, which is judged against the school's own records.
"""

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import stamina
from starlette.types import ASGIApp, Receive, Scope, Send

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.lms.ingest import Ingested
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.sandbox.core import SandboxRequestError
from lms_crm_assets.warehouse.connection import connect
from tests.lms.contract.editing import Editor
from tests.lms.contract.facts import Facts
from tests.lms.contract.protocols import ENVIRON, START, Protocol
from tests.lms.contract.warehouse import Living, Warehouse
from tests.lms.pulls import by_key
from tests.simulator_server import serving

SIZE = {"learners": 24, "courses": 3, "enrollments": 40, "start": START}
A_SCHOOL = 10
"""Interleavings with one school; then it is a new one."""

# Where pages are as long as the LMS gives them, they are made short here.
_SHORT_PAGES: dict[str, Any] = {
    "lms_crm_assets.lms.canvas.api._ROWS_A_PAGE": 7,
    "lms_crm_assets.lms.moodle.participants._ROWS_A_PAGE": 7,
    "lms_crm_assets.lms.moodle.reports._PAGE_SIZES": (13, 11, 7),
}


@dataclass
class Findings:
    """What came of interleavings: records lost, doubled or wrong, and the pulls and edits that there were.

    `refused` pulls said that too much moved while they were read, and changed nothing.
    """

    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    interleavings: int = 0
    edits: int = 0
    refused: int = 0
    asked_by_key: int = 0
    problems: list[str] = field(default_factory=list)

    def blame(self, what: str, where: str, keys: set[str]) -> None:
        """Count records and say which."""
        if keys:
            setattr(self, what, getattr(self, what) + len(keys))
            self.problems.append(f"{where}: {what} {sorted(keys)[:5]}")

    def __iadd__(self, other: "Findings") -> Self:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


class Disturbed:
    """The application of a simulator, with an edit before some of its requests; it runs in the server's thread."""

    def __init__(self, app: ASGIApp, editing: "Editing") -> None:
        self._app, self._editing = app, editing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/_sandbox"):
            self._editing.between()
        await self._app(scope, receive, send)


class Editing:
    """Edits while it is on. `there` are the rows that were there all the while, by entity."""

    def __init__(self, protocol: Protocol, simulator: Any, chance: random.Random) -> None:
        self._protocol, self._simulator, self._chance = protocol, simulator, chance
        self._editor: Editor = protocol.editor(simulator, chance)
        self._share = 0.0
        self.there: dict[LmsEntity, set[str]] = {}
        self.edits = 0
        self.failures: list[str] = []

    def begin(self, share: float) -> None:
        """Edit before this share of the requests from now on."""
        self.there = {entity: set(rows) for entity, rows in self.facts().items()}
        self._share = share

    def end(self) -> None:
        """No edit from now on."""
        self._share = 0.0

    def between(self) -> None:
        """Now and then an edit, or a few."""
        while self._share and self._chance.random() < self._share:
            try:
                self._editor.edit()
            except SandboxRequestError as exc:
                # Else it would be no more than an answer of 500.
                self.failures.append(str(exc))
            self.edits += 1
            for entity, rows in self.facts().items():
                self.there[entity] &= rows.keys()

    def facts(self) -> Facts:
        """What raw_lms has to tell, as of now."""
        return self._protocol.facts(self._simulator.records)


def interleave(protocol: Protocol, number: int, seed: int) -> Findings:
    """So many interleavings with the protocol."""
    found = Findings()
    for first in range(0, number, A_SCHOOL):
        with _school(protocol, f"{seed} {protocol.name} {first}") as school:
            for _ in range(min(A_SCHOOL, number - first)):
                found += school.interleave()
    return found


@contextmanager
def short_pages() -> Iterator[None]:
    """Pages of a few rows also where their length is none of the contract's."""
    with ExitStack() as stack:
        for name, value in _SHORT_PAGES.items():
            stack.enter_context(patch(name, value))
        yield


@contextmanager
def _school(protocol: Protocol, seed: str) -> Iterator["_School"]:
    chance = random.Random(seed)
    simulator = protocol.simulator({**SIZE, "seed": chance.randrange(10**6)})
    editing = Editing(protocol, simulator, chance)
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, ENVIRON))
        stack.enter_context(short_pages())
        # Tries without waits between them.
        stack.enter_context(stamina.set_testing(True, attempts=5))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lms-crm-interleavings-")))
        address = stack.enter_context(serving(simulator, lambda app: Disturbed(app, editing)))
        school = _School(protocol, address, editing, chance, folder, seed)
        stack.callback(school.adapter.close)
        school.pull(full=True)
        yield school


@dataclass
class _School:
    protocol: Protocol
    address: str
    editing: Editing
    chance: random.Random
    folder: Path
    seed: str
    number: int = 0

    def __post_init__(self) -> None:
        self.adapter = self.protocol.adapter(self.address, OperationalStore(self.folder / "ops"))
        self.warehouse = Warehouse(self.folder, self.protocol.entities)

    def pull(self, *, full: bool) -> Ingested:
        """A pull that is believed whatever it lost."""
        return self.warehouse.pull(self.adapter, full=full, max_shrink_share=1.0)

    def interleave(self) -> Findings:
        """A pull with edits between its requests, and one without."""
        self.number += 1
        found = Findings(interleavings=1)
        full, next_full = self.chance.random() < 0.6, self.chance.random() < 0.5
        where = f"seed {self.seed!r}, {self.number}, {'full' if full else 'incremental'}"
        before = self.editing.edits
        self.editing.begin(self.chance.choice([0.1, 0.3, 0.6]))
        held = self.warehouse.held()
        try:
            found.asked_by_key += sum(map(len, self.pull(full=full).absent.values()))
        except RetryableError as exc:
            found.refused += 1
            if self.warehouse.held() != held:
                found.blame("wrong", where, {f"a pull that failed changed something: {exc}"})
        finally:
            self.editing.end()
        found.edits = self.editing.edits - before
        found.blame("wrong", f"{where}: edits", set(self.editing.failures))
        self._nothing_missing(found, where)
        if not next_full:
            self.pull(full=False)
            where += ", incremental"
            self._nothing_missing(found, where)
            if not self.adapter.capabilities.needs_full_sweep:
                self._exact(found, where)
        self.pull(full=True)
        self._exact(found, f"{where}, full")
        return found

    def _nothing_missing(self, found: Findings, where: str) -> None:
        """No row that was there all the while is missing or a tombstone."""
        living = self._living(found, where)
        for entity, keys in self.editing.there.items():
            found.blame("lost", f"{where}: {entity}", keys - living[entity].keys())

    def _exact(self, found: Findings, where: str) -> None:
        """The living rows are those of the school, with what they tell, and what a first pull of it would hold."""
        living = self._living(found, where)
        for entity, wanted in self.editing.facts().items():
            told = {key: self.protocol.told[entity](payload) for key, payload in living[entity].items()}
            self._compare(found, f"{where}: {entity}", wanted, told)
        fresh = by_key(self.adapter.pull(self.protocol.entities, None))
        for entity in self.protocol.entities:
            rows = {key: r.payload for key, r in fresh.get(entity, {}).items() if not r.is_deleted}
            facts = self.editing.facts()
            held = {
                k: row for k, row in living[entity].items() if k in rows or not self.protocol.keeps(entity, k, facts)
            }
            self._compare(found, f"{where}: {entity} afresh", rows, held)

    def _compare(self, found: Findings, where: str, wanted: dict[str, Any], held: dict[str, Any]) -> None:
        found.blame("lost", where, wanted.keys() - held.keys())
        found.blame("doubled", where, held.keys() - wanted.keys())
        found.blame("wrong", where, {key for key in wanted.keys() & held.keys() if wanted[key] != held[key]})

    def _living(self, found: Findings, where: str) -> Living:
        with connect(self.warehouse.file) as con:
            found.blame("doubled", where, self.warehouse.twice(con))
            return self.warehouse.living(con)
