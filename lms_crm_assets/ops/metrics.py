"""The figures of runs: short processes add to counters and gauges in the store, and `/metrics` reads them there.

A step of a run counts in memory, in a `Tally`, and adds it to the store in one transaction when it ends. Labels are
tenants, objects and words of ours, never a record's id or anything that was sent. Owns the tables `metrics` and `systems`.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
import structlog

from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.store import OperationalStore

_log = structlog.get_logger(__name__)

Side = Literal["lms", "crm"]


@dataclass(frozen=True)
class Metric:
    """One figure: its name without `_total`, its labels beside `tenant` and `crm`, and what it says.

    `kept`: runs keep it in the store; all others are read or counted where they are shown. Those `of_crm` say which CRM
    the tenant has. `buckets` are a histogram's.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    kept: bool = True
    of_crm: bool = True
    buckets: tuple[float, ...] = ()

    @property
    def shown_as(self) -> str:
        """The name that Prometheus stores."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    @property
    def all_labels(self) -> tuple[str, ...]:
        """With those that say whose it is."""
        return ("tenant", "crm", *self.labels) if self.of_crm else ("tenant", *self.labels)


_CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0)
_RUN_SECONDS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)

CATALOGUE = {
    metric.name: metric
    for metric in (
        Metric("records_extracted", "counter", ("object",), "Rows that pulls got from the LMS, by its entity."),
        Metric("records_created", "counter", ("object",), "Records that were made in the CRM."),
        Metric("records_updated", "counter", ("object",), "Records that were changed in the CRM."),
        Metric("records_archived", "counter", ("object",), "Records that were archived in the CRM."),
        Metric("records_unchanged", "counter", ("object",), "Records that were compared and agreed."),
        Metric("records_rejected", "counter", ("object",), "Records that the CRM refused."),
        Metric("records_failed", "counter", ("object",), "Records whose tries were used up; the next run sends them."),
        Metric("records_skipped", "counter", ("object",), "Records that were not sent since they are dead letters."),
        Metric(
            "records_drifted",
            "counter",
            ("object", "status"),
            "Planned updates of what others changed in the CRM (`drift`), or both sides did (`conflict`).",
        ),
        Metric("records_invalid", "gauge", ("object",), "Rows of the LMS in quarantine, by its entity."),
        Metric("records_withheld", "gauge", ("object",), "Records that are not sent since the CRM would refuse them."),
        Metric("dead_letters", "gauge", ("object",), "Records that the CRM refused too often to be sent again."),
        Metric(
            "http_requests",
            "counter",
            ("side", "status"),
            "Calls to the LMS and the CRM: `ok`, `refused` (an answer, if not what was wished for), `rate_limited`,"
            " `failed` (no answer, or the system's own trouble).",
        ),
        Metric(
            "http_request_duration_seconds",
            "histogram",
            ("side", "status"),
            "How long calls took, of the side `lms` or `crm` from its turn to the answer's end. Of the side `receiver`, with"
            " the label `route` in place of the tenant, from the head's end to the answer's, since the receiver started.",
            buckets=_CALL_SECONDS,
        ),
        Metric("rate_limited", "counter", ("side",), "Calls that were answered with a rate limit (429 and its like)."),
        Metric(
            "runs", "counter", ("lane", "status"), "Runs that ended: `succeeded` or `failed`; lane `full` or `events`."
        ),
        Metric("run_duration_seconds", "histogram", ("lane",), "How long runs took.", buckets=_RUN_SECONDS),
        Metric(
            "last_success_timestamp_seconds",
            "gauge",
            (),
            "When a run that looks at all records last ended with everything sent and taken, in seconds since 1970.",
        ),
        Metric("sync_lag_seconds", "gauge", (), "How long ago that was.", kept=False),
        Metric("freshness_promised_seconds", "gauge", (), "How long that may be, by the contract's sla."),
        Metric("quota_used_calls", "gauge", (), "Calls of the CRM's day that are used, as it told a run last."),
        Metric("quota_allowed_calls", "gauge", (), "Calls that the CRM allows a day, as it told a run last."),
        Metric("events_settled", "counter", ("status",), "Events that runs settled: `done`, `retried` or `parked`."),
        Metric(
            "breaker_open", "gauge", ("side",), "1 while calls wait because the system does not answer.", kept=False
        ),
        Metric("mode_switched", "gauge", (), "1 while backpressure has switched the tenant to pull.", kept=False),
        Metric("inbox_depth", "gauge", ("state",), "Events that are not done.", kept=False, of_crm=False),
        Metric(
            "inbox_oldest_age_seconds",
            "gauge",
            (),
            "How long the oldest pending or leased event waits.",
            kept=False,
            of_crm=False,
        ),
        Metric(
            "inbox_conflicts", "counter", (), "Deliveries under known ids with other content.", kept=False, of_crm=False
        ),
        Metric(
            "deliveries",
            "counter",
            ("side", "result"),
            "Deliveries by what became of them since the receiver started: `new`, `repeated`, `conflict`, `refused` or the"
            " status of the answer; of no known tenant it has none.",
            kept=False,
            of_crm=False,
        ),
    )
}
"""Every figure that `/metrics` and `lms-crm metrics` show, by name."""

_SUM, _MORE = "sum", "+Inf"


class Tally:
    """What one step counts; used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._put: dict[tuple[str, str], float] = {}

    def add(self, name: str, number: float = 1, **labels: str) -> None:
        """So much more of a counter; nothing more makes it known, for of one that appears with a 3 no increase is seen."""
        key = _key(name, "counter", labels)
        with self._lock:
            self._added[key] += number

    def put(self, name: str, value: float, **labels: str) -> None:
        """What a gauge stands at."""
        key = _key(name, "gauge", labels)
        with self._lock:
            self._put[key] = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """One value more of a histogram."""
        _key(name, "histogram", labels)
        bounds = CATALOGUE[name].buckets
        place = bisect_left(bounds, value)
        le = str(bounds[place]) if place < len(bounds) else _MORE
        with self._lock:
            self._added[name, _text({**labels, "le": le})] += 1
            self._added[name, _text({**labels, "le": _SUM})] += value

    def called(self, side: Side, status: str, seconds: float) -> None:
        """One call more to a system."""
        self.add("http_requests", side=side, status=status)
        self.observe("http_request_duration_seconds", seconds, side=side, status=status)
        if status == "rate_limited":
            self.add("rate_limited", side=side)

    @property
    def calls(self) -> int:
        """Calls counted so far."""
        with self._lock:
            return int(sum(number for (name, _), number in self._added.items() if name == "http_requests"))

    def save(self, store: OperationalStore, tenant: str) -> None:
        """Add it to the tenant's figures, and begin anew; a store that can't be written loses it, and the log says so."""
        with self._lock:
            added, put = dict(self._added), dict(self._put)
            self._added.clear()
            self._put.clear()
        if not added and not put:
            return
        try:
            with store.transaction(on=tenant) as run:
                for rows, change in ((added, "metrics.value + excluded.value"), (put, "excluded.value")):
                    if rows:
                        run(
                            f"INSERT INTO metrics (tenant, name, labels, value) VALUES {', '.join(['(?, ?, ?, ?)'] * len(rows))}"
                            f" ON CONFLICT (tenant, name, labels) DO UPDATE SET value = {change}",
                            [part for (name, labels), value in rows.items() for part in (tenant, name, labels, value)],
                        )
        except LmsCrmError as exc:
            # No record may stay unsent because it can't be counted.
            _log.warning("metrics_lost", figures=len(added) + len(put), error=type(exc).__name__)


_tallies: ContextVar[tuple[Tally, ...]] = ContextVar("tallies", default=())


@contextmanager
def counting(tally: Tally) -> Iterator[Tally]:
    """Count the calls that the block makes, in threads too where they carry its context."""
    mark = _tallies.set((*_tallies.get(), tally))
    try:
        yield tally
    finally:
        _tallies.reset(mark)


def count_call(side: Side, status: str, seconds: float) -> None:
    """A call was made, for whoever counts."""
    for tally in _tallies.get():
        tally.called(side, status, seconds)


@dataclass(frozen=True)
class Figure:
    """One value of the store; a histogram's has its bucket's bound, or `sum`, as the label `le`."""

    tenant: str
    name: str
    labels: dict[str, str]
    value: float


def figures(store: OperationalStore) -> Iterator[Figure]:
    """All values that are kept, of names that this version knows."""
    for tenant, name, labels, value in store.read("SELECT tenant, name, labels, value FROM metrics ORDER BY 2, 1, 3"):
        if name in CATALOGUE:
            yield Figure(tenant, name, orjson.loads(labels), float(value))


def last_success(store: OperationalStore, tenant: str) -> datetime | None:
    """The tenant's `last_success_timestamp_seconds`, where there is one."""
    query = "SELECT value FROM metrics WHERE tenant = ? AND name = 'last_success_timestamp_seconds'"
    return next((datetime.fromtimestamp(value, UTC) for (value,) in store.read(query, (tenant,))), None)


def note_systems(store: OperationalStore, tenant: str, systems: dict[Side, tuple[str, str]]) -> None:
    """Which LMS and CRM a tenant has, by kind and address: what is kept by address is shown by tenant."""
    rows = [(tenant, side, kind, address) for side, (kind, address) in systems.items()]
    known = {
        tuple(row) for row in store.read("SELECT tenant, side, kind, address FROM systems WHERE tenant = ?", (tenant,))
    }
    if known != set(rows):
        with store.transaction(on=tenant) as run:
            run("DELETE FROM systems WHERE tenant = ?", (tenant,))
            for row in rows:
                run("INSERT INTO systems (tenant, side, kind, address) VALUES (?, ?, ?, ?)", row)


def drop_figures(store: OperationalStore, tenant: str) -> None:
    """Forget a tenant that is no more: its age would grow, and an alert about it stand, for ever."""
    with store.transaction(on=tenant) as run:
        for table in ("metrics", "systems"):
            run(f"DELETE FROM {table} WHERE tenant = ?", (tenant,))


def _key(name: str, kind: str, labels: dict[str, Any]) -> tuple[str, str]:
    metric = CATALOGUE[name]
    if metric.kind != kind or not metric.kept or set(labels) != set(metric.labels):
        raise ValueError(f"{name} is a {metric.kind} with the labels {', '.join(metric.labels)}")
    return name, _text(labels)


def _text(labels: dict[str, Any]) -> str:
    return orjson.dumps({name: f"{value}" for name, value in labels.items()}, option=orjson.OPT_SORT_KEYS).decode()
