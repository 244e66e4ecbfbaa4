"""Whatever happens to LMS, CRM and deliveries: after a quiet full run both agree, and nobody's word was trodden on."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import duckdb
import pytest
import stamina
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, ParentSpec
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.delta.forecast import Forecast
from lms_crm_assets.delta.plan import plan_to_send, plan_totals, record_plan
from lms_crm_assets.delta.scope import make_scope
from lms_crm_assets.domain import CrmObject, FieldType, LmsEntity, Owner, SyncMode
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.ops.lanes import Alone, RightOfWay
from lms_crm_assets.snapshot.capture import land_records, load_snapshot
from lms_crm_assets.staging.tables import COLUMNS
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.sync.journal import recover
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import quoted
from tests.sync.memory_crm import Fault, Held, Killed, Logged, MemoryCrm, normal

pytestmark = pytest.mark.slow

Row = dict[str, str | None]
CONTACT, ENROLLMENT = CrmObject.CONTACT, CrmObject.ENROLLMENT
LEARNERS, ENROLLMENTS = ("l1", "l2", "l3"), ("e1", "e2", "e3")
KEYS = {CONTACT: LEARNERS, ENROLLMENT: ENROLLMENTS}


def field(column: str, kind: FieldType, owner: Owner, *normalisers: str) -> FieldSpec:
    return FieldSpec(f'"{column}"', frozenset({column}), kind, owner, normalisers, scale=2)


FIELDS = {
    CONTACT: {
        "Email": field("email", FieldType.EMAIL, Owner.ENFORCE),
        "First": field("given_name", FieldType.TEXT, Owner.ENFORCE),
        "Score": field("username", FieldType.NUMBER, Owner.ENFORCE),
        "Active": field("country", FieldType.BOOLEAN, Owner.ENFORCE),
        "La'st": field("family_name", FieldType.TEXT, Owner.NEVER_NULL),
        "Org": field("organization", FieldType.TEXT, Owner.FILL_IF_EMPTY),
        "Credit": field("external_id", FieldType.NUMBER, Owner.FILL_IF_EMPTY),
        "Status": field("status", FieldType.TEXT, Owner.OBSERVE),
    },
    ENROLLMENT: {
        "Role": field("role", FieldType.TEXT, Owner.ENFORCE, "upper"),
        "Since": field("enrolled_at", FieldType.DATETIME, Owner.ENFORCE),
        "Start": field("starts_at", FieldType.DATETIME, Owner.NEVER_NULL, "date"),
        "Stage": field("status", FieldType.TEXT, Owner.FILL_IF_EMPTY),
        "End": field("ends_at", FieldType.DATETIME, Owner.OBSERVE),
    },
}
VALUES: dict[FieldType, list[str | None]] = {
    FieldType.TEXT: [None, "", "a", " a", "A", "b'\"Ü"],
    FieldType.EMAIL: [None, "A@b.test", " a@b.test", "c@b.test"],
    FieldType.NUMBER: [None, "3", "3.0", "7.182", "0"],
    FieldType.BOOLEAN: [None, "true", "false"],
    FieldType.DATETIME: [None, "2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-02-02T23:30:00Z"],
}


def column(spec: FieldSpec) -> str:
    return next(iter(spec.columns))


class World:
    """An LMS, a CRM and the product between them; checks each run's writes as they are made."""

    def __init__(self, mode: SyncMode, *, by_upsert: bool, tidy: bool) -> None:
        self.mode = mode
        self.crm = MemoryCrm(by_upsert=by_upsert, tidy=tidy)
        parent = {CONTACT: ParentSpec("Contact", "Key", "Contact__r")}
        self.specs = [
            ObjectSpec(CONTACT, "Contact", "Key", FIELDS[CONTACT], {}, mode),
            ObjectSpec(ENROLLMENT, "Enrollment", "Key", FIELDS[ENROLLMENT], parent, mode),
        ]
        self.rows: dict[CrmObject, dict[str, Row]] = {CONTACT: {}, ENROLLMENT: {}}
        self.refused_rows: dict[CrmObject, set[str]] = {CONTACT: set(), ENROLLMENT: set()}
        self.runs = 0
        self.overwritten: list[Logged] = []
        """Fields that are only to be filled, overwritten by a run without a snapshot of its own."""
        self.archived_of_others: list[Logged] = []
        """Records that we archived and never wrote."""
        self._opens_left: int | None = None
        self._settled: dict[tuple[CrmObject, str], object] = {}
        self._sent_last: set[tuple[CrmObject, str]] = set()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._con = stack.enter_context(connect(self._folder / "w.duckdb", {"threads": "1"}))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    # What the LMS says.

    def valid(self, obj: CrmObject) -> dict[str, Row]:
        """The rows that are not refused; an enrollment without a valid learner is, as our checks have it."""
        rows = {key: row for key, row in self.rows[obj].items() if key not in self.refused_rows[obj]}
        if obj is ENROLLMENT:
            learners = self.valid(CONTACT)
            rows = {key: row for key, row in rows.items() if row["learner_id"] in {None, *learners}}
        return rows

    def wanted(self, obj: CrmObject, key: str) -> dict[str, str | None]:
        row = self.valid(obj)[key]
        return {name: normal(row[column(spec)], spec) for name, spec in FIELDS[obj].items()}

    def _stage(self) -> None:
        self._con.execute("DELETE FROM staging.quarantine")
        for spec in self.specs:
            entity, valid = spec.object.entity, self.valid(spec.object)
            names = ["source_id", *COLUMNS[entity]]
            types = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS[entity].items())
            table = f"staging.{entity.staging_table}"
            self._con.execute(f"CREATE OR REPLACE TABLE {table} (source_id VARCHAR, {types}, row_hash UBIGINT)")
            marks = ", ".join("?" for _ in names)
            columns = ", ".join(quoted(name) for name in names)
            insert = f"INSERT INTO {table} SELECT *, hash(*COLUMNS(*)) FROM (VALUES ({marks})) t({columns})"
            for key, row in valid.items():
                self._con.execute(insert, [key, *(row.get(n) for n in names[1:])])
            for key in self.rows[spec.object].keys() - valid.keys():
                self._con.execute(
                    "INSERT INTO staging.quarantine (entity, source_id, code) VALUES ($1, $2, 'c')", [entity, key]
                )

    # What the product does.

    def run(self, run: "Run") -> str | None:
        """One run with its faults; gives the plan's id unless it ended before there was one."""
        self.crm.faults, self.crm.refused = list(run.faults), run.refused
        self.crm.refuses_batches, self._opens_left = run.refuses_batches, run.dies_at_opening
        first, before, plan_id = len(self.crm.log), self._states(), None
        try:
            plan_id = self._plan(full=run.full)
            self._deliver(plan_id)
        except Killed:
            self._tear(run.torn_bytes)
        except RetryableError:
            assert run.faults
        self.crm.faults, self.crm.refused, self.crm.dead, self._opens_left = [], frozenset(), False, None
        writes = self.crm.log[first:]
        self._check_writes(writes, full=run.full)
        self._check_no_needless_writes(writes, before, run)
        self._settled = {} if run.is_faulty else self._states()
        self._sent_last = {(w.obj, w.key) for w in writes}
        if run.full and not run.is_faulty:
            self.check_agreement()
        return plan_id

    def _plan(self, *, full: bool) -> str:
        con, self.runs = self._con, self.runs + 1
        if full:
            for spec in self.specs:
                file, captured_at = self._folder / f"{spec.object}.landed", datetime.now(UTC)
                land_records(self.crm.snapshot(spec), file)
                load_snapshot(con, spec, file, captured_at)
        self._stage()
        for spec in self.specs:
            recover(con, spec, self._folder / "sync")
            build_delta(con, spec)
        return self._recorded(f"r{self.runs}")

    def _recorded(self, run_id: str) -> str:
        record_plan(
            self._con,
            self.specs,
            forecast=Forecast(0, 0, 0.0, None),
            breaches=[],
            auto_apply=True,
            sync_run_id=run_id,
            now=datetime.now(UTC),
        )
        plan = plan_to_send(self._con, run_id)
        assert plan
        return plan.plan_id

    def _deliver(self, plan_id: str, run_id: str | None = None, right_of_way: RightOfWay | None = None) -> None:
        for spec in self.specs:
            Delivery(
                crm=self.crm,
                spec=spec,
                plan_id=plan_id,
                open_warehouse=self._open,
                folder=self._folder / "sync",
                sync_run_id=run_id or f"r{self.runs}",
                max_attempts=1000,  # the same record may be refused in every run
                right_of_way=right_of_way or Alone(),
            ).run()

    # A run of events beside a full one.

    def run_beside(self, right_of_way: RightOfWay) -> None:
        """A full run without faults, which gives way."""
        self._deliver(self._plan(full=True), right_of_way=right_of_way)

    def run_of_events(self, run_id: str, touched: Mapping[LmsEntity, Sequence[str]]) -> None:
        """A run of what these rows touch."""
        self._stage()
        for spec in self.specs:
            build_delta(self._con, spec, partial(make_scope, self._con, spec, touched, {}))
        self._deliver(self._recorded(run_id), run_id)

    @contextmanager
    def _open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse, which a process that was killed opens no more: its journal stays."""
        if self._opens_left is not None:
            self._opens_left -= 1
            self.crm.dead = self.crm.dead or self._opens_left < 0
        if self.crm.dead:
            raise Killed
        yield self._con

    def _tear(self, torn_bytes: int) -> None:
        """The kill came while the journal's last line was written."""
        for file in (self._folder / "sync").glob("*.ndjson"):
            file.write_bytes(file.read_bytes()[: -torn_bytes or None])

    # What must hold.

    def _states(self) -> dict[tuple[CrmObject, str], object]:
        """What each record is to be and what it is."""
        found: dict[tuple[CrmObject, str], object] = {}
        for obj in KEYS:
            for key, row in self.valid(obj).items():
                live = self.crm.find(obj, key)
                parent = self.crm.find(CONTACT, row["learner_id"] or "") if obj is ENROLLMENT else None
                found[obj, key] = (dict(row), live and live.state(), parent and parent.crm_id)
        return found

    def _check_writes(self, writes: Sequence[Logged], *, full: bool) -> None:
        for write in writes:
            assert write.key in self.rows[write.obj] or write.operation == "archive", write
            if write.operation == "archive":
                assert self.mode is SyncMode.MIRROR, write
                assert write.key not in self.rows[write.obj], write
                if write.crm_id not in self._written_by_us():
                    self.archived_of_others.append(write)
            for name, value in write.values.items():
                spec = FIELDS[write.obj][name]
                assert value == self.wanted(write.obj, write.key)[name], (name, write)
                assert spec.owner is not Owner.OBSERVE, (name, write)
                assert value is not None or spec.owner is Owner.ENFORCE, (name, write)
                if spec.owner is Owner.FILL_IF_EMPTY and write.before[name] not in {None, value}:
                    assert not full, f"{name} was filled already: {write}"
                    self.overwritten.append(write)

    def _written_by_us(self) -> set[str]:
        return {write.crm_id for write in self.crm.log if write.operation != "archive"}

    def _check_no_needless_writes(
        self, writes: Sequence[Logged], before: dict[tuple[CrmObject, str], object], run: "Run"
    ) -> None:
        """A run without faults writes what differs, once; one without a snapshot may not know better the first time."""
        if run.is_faulty:
            return
        once = Counter((w.operation, w.obj, w.key) for w in writes if not w.operation.startswith("unlink"))
        assert not [each for each, number in once.items() if number > 1]
        # Of two links the wrong one is taken away and the right one made again: that the record changed is enough.
        changed = {(w.obj, w.key) for w in writes if w.changed}
        for write in writes:
            at = (write.obj, write.key)
            same = at in before and self._settled.get(at) == before[at]
            learner = self.rows[write.obj].get(write.key, {}).get("learner_id") or ""
            knew = run.full or (same and (CONTACT, learner) not in self._sent_last)
            assert at in changed or not knew, f"written for nothing: {write}"

    def check_agreement(self) -> None:
        """LMS and CRM agree, each field by its owner."""
        for obj, fields in FIELDS.items():
            for key, row in self.valid(obj).items():
                live = self.crm.find(obj, key)
                assert live is not None, f"{obj} {key} is not in the CRM"
                wanted = self.wanted(obj, key)
                for name, spec in fields.items():
                    held = normal(live.values.get(name), spec)
                    if spec.owner is Owner.ENFORCE or (spec.owner is Owner.NEVER_NULL and wanted[name] is not None):
                        assert held == wanted[name], f"{obj} {key} {name}"
                    if spec.owner is Owner.FILL_IF_EMPTY and wanted[name] is not None:
                        assert held is not None, f"{obj} {key} {name}"
                if obj is ENROLLMENT and row["learner_id"] is not None:
                    contact = self.crm.find(CONTACT, row["learner_id"])
                    assert contact, f"{key}'s learner is not in the CRM"
                    assert live.links.get(CONTACT) == {contact.crm_id}, f"the link of {key}"
        if self.mode is SyncMode.MIRROR:
            ledger = set(self._con.execute("SELECT object, external_id, crm_id FROM sync.ledger").fetchall())
            for live in self.crm.records.values():
                if (live.obj, live.key, live.crm_id) in ledger and live.key not in self.rows[live.obj]:
                    raise AssertionError(f"{live} left the LMS, we wrote it, and it still is there")

    def quiet_end(self) -> None:
        """A full run without faults, and another one that finds nothing to do."""
        self.run(Run())
        records, calls = {i: held.state() for i, held in self.crm.records.items()}, self.crm.write_calls
        plan_id = self.run(Run())
        assert plan_id
        assert plan_totals(self._con, plan_id).written == 0
        assert self.crm.write_calls == calls
        assert {i: held.state() for i, held in self.crm.records.items()} == records
        assert not self.overwritten
        assert not self.archived_of_others


# What may happen.


class Event(Protocol):
    def __call__(self, world: World) -> object: ...


@dataclass(frozen=True)
class Lms:
    """A row is edited, made when there is none."""

    obj: CrmObject
    key: str
    values: tuple[tuple[str, str | None], ...]

    def __call__(self, world: World) -> None:
        row = world.rows[self.obj].setdefault(self.key, dict.fromkeys(COLUMNS[self.obj.entity]))
        row.update(self.values)


@dataclass(frozen=True)
class Gone:
    """A row is deleted."""

    obj: CrmObject
    key: str

    def __call__(self, world: World) -> None:
        world.rows[self.obj].pop(self.key, None)


@dataclass(frozen=True)
class Refused:
    """Our checks refuse a row, or release it."""

    obj: CrmObject
    key: str
    now: bool

    def __call__(self, world: World) -> None:
        (world.refused_rows[self.obj].add if self.now else world.refused_rows[self.obj].discard)(self.key)


@dataclass(frozen=True)
class Edited:
    """A person edits a field in the CRM."""

    obj: CrmObject
    key: str
    name: str
    value: str | None

    def __call__(self, world: World) -> None:
        if (held := world.crm.find(self.obj, self.key)) is not None:
            held.values[self.name] = world.crm.spelled(self.value, FIELDS[self.obj][self.name])


@dataclass(frozen=True)
class Made:
    """A person makes a record with our match key, in place of the one that was there."""

    obj: CrmObject
    key: str
    values: tuple[tuple[str, str | None], ...]

    def __call__(self, world: World) -> None:
        if (held := world.crm.find(self.obj, self.key)) is not None:
            world.crm.delete(held)
        made = world.crm.make(self.obj, self.key)
        made.values = {name: world.crm.spelled(value, FIELDS[self.obj][name]) for name, value in self.values}


@dataclass(frozen=True)
class Deleted:
    """A person deletes a record, or takes its match key away."""

    obj: CrmObject
    key: str
    only_its_key: bool

    def __call__(self, world: World) -> None:
        held = world.crm.find(self.obj, self.key)
        if held is not None and self.only_its_key:
            held.key = None
        elif held is not None:
            world.crm.delete(held)


@dataclass(frozen=True)
class Merged:
    """A person merges two records."""

    obj: CrmObject
    winner: str
    loser: str

    def __call__(self, world: World) -> None:
        winner, loser = world.crm.find(self.obj, self.winner), world.crm.find(self.obj, self.loser)
        if winner is not None and loser is not None and winner is not loser:
            world.crm.merge(winner, loser)


@dataclass(frozen=True)
class Linked:
    """A person links an enrollment to another contact, to one more where that is possible, or to none."""

    key: str
    contact: str | None
    one_more: bool

    def __call__(self, world: World) -> None:
        held = world.crm.find(ENROLLMENT, self.key)
        to: Held | None = world.crm.find(CONTACT, self.contact) if self.contact else None
        if held is not None:
            kept = held.links.get(CONTACT, set()) if self.one_more and world.crm.linker is not None else set()
            held.links[CONTACT] = kept | ({to.crm_id} if to else set())


@dataclass(frozen=True)
class Run:
    """A run. Faults meet its write calls in order; `dies_at_opening` kills it at that opening of the warehouse."""

    full: bool = True
    faults: tuple[Fault, ...] = ()
    refused: frozenset[str] = frozenset()
    refuses_batches: bool = False
    dies_at_opening: int | None = None
    torn_bytes: int = 0

    @property
    def is_faulty(self) -> bool:
        return bool(self.faults or self.refused or self.dies_at_opening is not None)

    def __call__(self, world: World) -> None:
        world.run(self)


objects = st.sampled_from([CONTACT, ENROLLMENT])


def keyed(obj: CrmObject) -> st.SearchStrategy[str]:
    return st.sampled_from(KEYS[obj])


def source_values(obj: CrmObject, least: int) -> st.SearchStrategy[tuple[tuple[str, str | None], ...]]:
    by_column = {column(spec): VALUES[spec.type] for spec in FIELDS[obj].values()}
    if obj is ENROLLMENT:
        by_column["learner_id"] = [*LEARNERS, None]
    one = st.sampled_from(sorted(by_column)).flatmap(lambda c: st.tuples(st.just(c), st.sampled_from(by_column[c])))
    return st.lists(one, min_size=least, max_size=6, unique_by=lambda pair: pair[0]).map(tuple)


def crm_value(obj: CrmObject) -> st.SearchStrategy[tuple[str, str | None]]:
    def valued(name: str) -> st.SearchStrategy[tuple[str, str | None]]:
        return st.tuples(st.just(name), st.sampled_from(VALUES[FIELDS[obj][name].type]))

    return st.sampled_from(sorted(FIELDS[obj])).flatmap(valued)


def crm_values(obj: CrmObject) -> st.SearchStrategy[tuple[tuple[str, str | None], ...]]:
    return st.lists(crm_value(obj), max_size=3, unique_by=lambda pair: pair[0]).map(tuple)


faults = st.one_of(
    st.lists(st.sampled_from(Fault), min_size=1, max_size=6),
    # The tries are used up.
    st.tuples(st.integers(0, 3), st.sampled_from([Fault.BEFORE, Fault.LOST])).map(
        lambda f: [Fault.NONE] * f[0] + [f[1]] * 5
    ),
).map(tuple)
quiet_runs = st.builds(Run, full=st.booleans())
runs = st.one_of(
    quiet_runs,
    st.builds(
        Run,
        full=st.booleans(),
        faults=faults | st.just(()),
        refused=st.frozensets(st.sampled_from(LEARNERS + ENROLLMENTS), max_size=2),
        refuses_batches=st.booleans(),
        dies_at_opening=st.none() | st.integers(0, 8),
        torn_bytes=st.sampled_from([0, 0, 1, 30]),
    ),
)
lms_events: st.SearchStrategy[Event] = st.one_of(
    objects.flatmap(lambda o: st.builds(Lms, st.just(o), keyed(o), source_values(o, 1))),
    objects.flatmap(lambda o: st.builds(Gone, st.just(o), keyed(o))),
    objects.flatmap(lambda o: st.builds(Refused, st.just(o), keyed(o), st.booleans())),
)
crm_events: st.SearchStrategy[Event] = st.one_of(
    objects.flatmap(
        lambda o: st.tuples(keyed(o), crm_value(o)).map(lambda found: Edited(o, found[0], found[1][0], found[1][1]))
    ),
    objects.flatmap(lambda o: st.builds(Made, st.just(o), keyed(o), crm_values(o))),
    objects.flatmap(lambda o: st.builds(Deleted, st.just(o), keyed(o), st.booleans())),
    objects.flatmap(lambda o: st.builds(Merged, st.just(o), keyed(o), keyed(o))),
    st.builds(Linked, keyed(ENROLLMENT), keyed(CONTACT) | st.none(), st.booleans()),
)
# A few things happen, then there is a run.
rounds = st.lists(st.tuples(st.lists(lms_events | crm_events, min_size=1, max_size=6), runs), min_size=3, max_size=6)
# Every row is there at first, enrollments with a learner; events take rows and learners away.
populations = st.fixed_dictionaries(
    {(obj, key): source_values(obj, 3) for obj, keys in KEYS.items() for key in keys}
    | {("learner of", key): keyed(CONTACT) for key in ENROLLMENTS}
)


@pytest.fixture(autouse=True, scope="module")
def _no_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=5):
        yield


@given(
    mode=st.sampled_from([SyncMode.UPSERT, SyncMode.MIRROR]),
    by_upsert=st.booleans(),
    tidy=st.booleans(),
    population=populations,
    story=rounds,
)
def _agree_after_a_quiet_run(
    mode: SyncMode,
    by_upsert: bool,  # noqa: FBT001 - hypothesis gives it
    tidy: bool,  # noqa: FBT001 - as above
    population: dict[tuple[CrmObject | str, str], Any],
    story: list[tuple[list[Event], Run]],
) -> None:
    with World(mode, by_upsert=by_upsert, tidy=tidy) as world:
        for obj, keys in KEYS.items():
            for key in keys:
                Lms(obj, key, population[obj, key])(world)
        for key in ENROLLMENTS:
            Lms(ENROLLMENT, key, (("learner_id", population["learner of", key]),))(world)
        for n, (events, run) in enumerate(story):
            for event in events:
                event(world)
            # The incremental pull waits until the CRM's state is known.
            world.run(replace(run, full=True) if n == 0 else run)
        world.quiet_end()


@pytest.mark.parametrize("examples", [2, pytest.param(12, marks=pytest.mark.long)])
def test_after_a_quiet_run_lms_and_crm_agree_whatever_happened(examples: int) -> None:
    chosen = settings(max_examples=examples, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    chosen(_agree_after_a_quiet_run)()


ANNA = Lms(CONTACT, "l1", (("given_name", "Anna"), ("organization", "from the LMS")))
PERSONS_WORD = (("Org", "a person's word"),)


def told(mode: SyncMode, *story: Event) -> World:
    """The world after a story and its quiet end."""
    with World(mode, by_upsert=True, tidy=True) as world:
        for event in story:
            event(world)
        world.quiet_end()
    return world


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(
            [
                Lms(CONTACT, "l1", (("given_name", "Anna"),)),
                Run(),
                Edited(CONTACT, "l1", *PERSONS_WORD[0]),
                ANNA,
                Run(full=False),
            ],
            id="filled since the snapshot",
        ),
        pytest.param(
            [Run(), Made(CONTACT, "l1", PERSONS_WORD), ANNA, Run(full=False)], id="record made since the snapshot"
        ),
        pytest.param(
            [ANNA, Run(faults=(Fault.LOST,) * 5), Edited(CONTACT, "l1", *PERSONS_WORD[0]), Run(full=False)],
            id="answer to the creation lost",
        ),
    ],
)
def test_an_incremental_run_overwrites_no_field_that_a_person_has_filled(story: list[Event]) -> None:
    world = told(SyncMode.UPSERT, *story)

    assert world.overwritten == []
    found = world.crm.find(CONTACT, "l1")
    assert found is not None
    assert found.values["Org"] == "a person's word"


def test_a_record_that_a_person_made_in_place_of_ours_is_not_archived() -> None:
    world = told(SyncMode.MIRROR, ANNA, Run(), Made(CONTACT, "l1", PERSONS_WORD), Gone(CONTACT, "l1"))

    assert world.archived_of_others == []


def test_a_journal_of_archives_found_late_hides_no_record_that_the_new_snapshot_holds() -> None:
    # Killed when the warehouse opens to take in the journal of the archives; the next run is a full one.
    killed = Run(dies_at_opening=2)
    story: list[Event] = [ANNA, Run(), Gone(CONTACT, "l1"), killed, Made(CONTACT, "l1", PERSONS_WORD), ANNA]

    world = told(SyncMode.MIRROR, *story)

    assert world.crm.find(CONTACT, "l1") is not None
