"""The delta of one object against the cost of reading both sides: time at 1M and 10M records, memory, exactness.

Each warehouse is a quiet one: staged rows, the CRM's records in its own spelling and a ledger that knows every field.
Then some records get one field edited in the CRM. The first delta maps every row of ours; the later ones, which are the
rule, find the mapping kept and are what is measured. The limit is `SELECT sum(hash(all columns))` over the staged table and
the snapshot as they are, without the ledger. Every build and comparison is a process of its own, so that nothing but the
measured one counts; in it limit, delta and its parts take turns.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import duckdb
import pandas as pd  # noqa: F401 - DuckDB imports it with the first text that it is given; a run's process has it from its start

from benchmarks.results import Figure
from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.fingerprint import fingerprint
from lms_crm_assets.delta.build import build_delta, find_differing, read_counts
from lms_crm_assets.delta.desired import refresh_desired
from lms_crm_assets.domain import CrmObject, FieldType, Owner
from lms_crm_assets.warehouse.connection import SETTINGS, connect
from lms_crm_assets.warehouse.sql import literal, quoted, scalar

ROOT = Path(__file__).parent.parent
ROUNDS = 5
KIB = 1024
# 700 MB.
_MOST_MIB = 700e6 / 2**20


@dataclass(frozen=True)
class Mapped:
    """A mapped field: how it is compared, and as SQL over the staged row what the CRM shows for it and what we wrote.

    `edited` is what a person puts in its place.
    """

    spec: FieldSpec
    shown: str
    applied: str
    edited: str


def _moment(column: str, form: str) -> str:
    return f"strftime(make_timestamp(epoch_us({column})), '{form}')"


def _text(expression: str, shown: str, applied: str, edited: str, *normalisers: str) -> Mapped:
    return Mapped(FieldSpec(expression, frozenset(), FieldType.TEXT, normalisers=normalisers), shown, applied, edited)


_SECOND = "%Y-%m-%dT%H:%M:%SZ"
_DATETIME, _ENFORCE = FieldType.DATETIME, Owner.ENFORCE

# Twelve fields over the canonical columns of a course, which are typed as staging types them; the expressions are such
# as a contract's compile to. The CRM keeps a blank in one code of a hundred, spells addresses its own way, shows numbers
# with a fraction, and moments as HubSpot (starts_at) and Salesforce (ends_at) do.
FIELDS = {
    "name": _text('"title"', "title", "title", "'A person''s title'"),
    "code": _text('"code"', "code || CASE WHEN external_id LIKE '%00' THEN ' ' ELSE '' END", "code", "'edited'"),
    "number": Mapped(
        FieldSpec('"external_id"', frozenset(), FieldType.NUMBER, _ENFORCE, scale=0),
        "external_id || '.0'",
        "external_id",
        "'-1'",
    ),
    "visible": Mapped(
        FieldSpec('"visible"', frozenset(), FieldType.BOOLEAN, _ENFORCE),
        "visible::VARCHAR",
        "visible::VARCHAR",
        "(NOT visible)::VARCHAR",
    ),
    "starts_at": Mapped(
        FieldSpec('"starts_at"', frozenset(), _DATETIME),
        _moment("starts_at", _SECOND),
        _moment("starts_at", _SECOND),
        "'1999-12-31T23:59:59Z'",
    ),
    "ends_at": Mapped(
        FieldSpec('"ends_at"', frozenset(), _DATETIME, _ENFORCE),
        _moment("ends_at", "%Y-%m-%dT%H:%M:%S.000+0000"),
        _moment("ends_at", _SECOND),
        "'1999-12-31T23:59:59.000+0000'",
    ),
    "starts_on": Mapped(
        FieldSpec('"starts_at"', frozenset(), _DATETIME, normalisers=("date",)),
        _moment("starts_at", "%Y-%m-%d"),
        _moment("starts_at", "%Y-%m-%d"),
        "'1999-12-31'",
    ),
    "mail": Mapped(
        FieldSpec("TRY(CONCAT(\"code\", '@courses.example'))", frozenset(), FieldType.EMAIL),
        "code || '@Courses.Example'",
        "code || '@courses.example'",
        "'someone@else.example'",
    ),
    "department": _text('TRY(LEFT("code", 3))', "'CRS'", "'CRS'", "'ZZZ'", "upper"),
    "year": Mapped(
        FieldSpec('TRY(YEAR("starts_at"))', frozenset(), FieldType.NUMBER, _ENFORCE),
        _moment("starts_at", "%Y"),
        _moment("starts_at", "%Y.00000"),
        "'1999'",
    ),
    "label": _text('TRY(COALESCE("title", "code"))', "title", "title", "'A person''s label'"),
    "state": _text(
        "TRY(CASE WHEN \"visible\" THEN 'open' ELSE 'closed' END)",
        "if(visible, 'open', 'closed')",
        "if(visible, 'open', 'closed')",
        "'edited'",
    ),
}
SPEC = ObjectSpec(CrmObject.COURSE, "courses", "lms_course_id", {name: f.spec for name, f in FIELDS.items()}, {})


@dataclass(frozen=True)
class Compared:
    """What one process found: median seconds (`…_cpu`: of processor time), and the records whose delta isn't the one edit.

    `found_by_hashes`: which records differ, from what is kept of both sides, without their fields. `sent_again`: to see
    that of rows which the LMS sent once more none changed. `peak` is the process's memory in MiB after its first delta,
    before anything else was read.
    """

    limit: float
    limit_cpu: float
    delta: float
    delta_cpu: float
    found_by_hashes: float
    sent_again: float
    peak: float
    found: int
    wrong: int


def measure() -> list[Figure]:
    """Compare 1M, 10M and 100k records; the figures."""
    _, million = _measured(1_000_000, 10_000, {"later": {}})
    edits = _measured(100_000, 137, {"later": {}})
    # A run's own limit is narrower than what a machine of 512 MB would be given.
    ways = {"as a run": {}, "under 512MB": {"memory_limit": "512MB"}, "unlimited": {"memory_limit": "16GB"}}
    ten_million = _measured(10_000_000, 100_000, ways, rounds=3)
    first, own, limited, unlimited = ten_million
    as_a_run = f"diff of 10M × 12 columns as a run does it, under memory_limit {SETTINGS['memory_limit']}"
    memory = "diff of 10M × 12 columns under memory_limit 512MB: peak memory"
    return [
        Figure("diff of 1M × 12 columns: time against the scan limit", million.delta / million.limit, 2.0, "×"),
        Figure("the same, only which records differ (kept hashes)", million.found_by_hashes / million.limit, 1.35, "×"),
        Figure("the same, 5 % of the rows sent again as they were", million.sent_again / million.limit, 0.4, "×"),
        Figure("diff of 1M × 12 columns: records wrongly in or not in the delta", million.wrong, 0, "records"),
        Figure("137 edits in 100k records: records wrongly in or not", sum(one.wrong for one in edits), 0, "records"),
        Figure(
            "diff of 10M × 12 columns: CPU time against the scan limit",
            unlimited.delta_cpu / unlimited.limit_cpu,
            2.2,
            "×",
        ),
        Figure(
            "diff of 10M × 12 columns: records wrongly in or not in the delta",
            sum(one.wrong for one in ten_million),
            0,
            "records",
        ),
        Figure(f"{as_a_run}: peak memory", own.peak, _MOST_MIB, "MiB"),
        Figure(f"{as_a_run}: peak memory of the first, which maps every row", first.peak, _MOST_MIB, "MiB"),
        Figure(f"{as_a_run}: CPU time against without limit", own.delta_cpu / unlimited.delta_cpu, 1.2, "×"),
        Figure(memory, limited.peak, _MOST_MIB, "MiB"),
        Figure(
            "diff of 10M × 12 columns under memory_limit 512MB: CPU time against without limit",
            limited.delta_cpu / unlimited.delta_cpu,
            1.2,
            "×",
        ),
    ]


def _measured(rows: int, edits: int, ways: dict[str, dict[str, str]], *, rounds: int = ROUNDS) -> list[Compared]:
    """Build a warehouse and compare its sides in processes of their own: the first delta, and later ones by settings.

    The first one has the settings of the first way.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        run("build", f"{folder}/w.duckdb", str(rows), str(edits))
        print(f"diff of {rows:,}: made with {edits:,} edits in {time.monotonic() - started:.0f} s", flush=True)
        for name, settings in ({"first": next(iter(ways.values()))} | ways).items():
            answer = Path(folder, "answer")
            times = 1 if name == "first" else rounds
            run("compare", f"{folder}/w.duckdb", str(answer), str(times), json.dumps(settings))
            one = Compared(**json.loads(answer.read_bytes()))
            print(
                f"diff of {rows:,}, {name}: limit {one.limit:.2f} s, delta {one.delta:.2f} s"
                f" ({one.delta / one.limit:.2f} ×, CPU {one.delta_cpu / one.limit_cpu:.2f} ×), by hashes"
                f" {one.found_by_hashes:.2f} s, sent again {one.sent_again:.2f} s, peak {one.peak:,.0f} MiB,"
                f" {one.found:,} updates, {one.wrong:,} records wrong",
                flush=True,
            )
            found.append(one)
    return found


def run(*arguments: str) -> None:
    """Run this module in a new process. It starts with the peak of this one, in which nothing big may happen."""
    subprocess.run([sys.executable, "-m", "benchmarks.diff", *arguments], cwd=ROOT, check=True)


def _build(warehouse: Path, rows: int, edits: int) -> None:
    """A warehouse at rest, but for `edits` records with one field edited in the CRM; the table `edit` says which."""
    stride = rows // edits
    names = ", ".join(literal(name) for name in FIELDS)
    shown = ", ".join(
        f"CASE WHEN e.field = {literal(name)} THEN {f.edited} ELSE {f.shown} END AS {quoted(name)}"
        for name, f in FIELDS.items()
    )
    applied = ", ".join(f.applied for f in FIELDS.values())
    with connect(warehouse) as con:
        con.execute(
            f"CREATE TABLE edit AS SELECT 'course-' || (i * {stride} + hash(i) % {stride}) AS key,"
            f" [{names}][i % {len(FIELDS)} + 1] AS field FROM range({edits}) t(i)"
        )
        con.execute(
            "CREATE TABLE staging.course AS SELECT 'course-' || i AS source_id, (100000000 + i)::VARCHAR AS external_id,"
            " 'crs-' || hash(i) % 100000 AS code, 'Einführung in die Welt, Teil ' || hash(i) % 1000000 AS title,"
            " hash(i + 1) % 4 > 0 AS visible,"
            " TIMESTAMPTZ '2015-01-01 00:00:00Z' + to_seconds((hash(i + 2) % 300000000)::BIGINT) AS starts_at,"
            " CASE WHEN hash(i + 3) % 10 > 0 THEN starts_at + to_days(90) END AS ends_at, now() AS source_updated_at,"
            f" now() AS observed_at, hash(i) AS row_hash, NULL::JSON AS extra FROM range({rows}) t(i)"
        )
        con.execute(
            f"CREATE TABLE crm_snapshot.course AS SELECT *, {fingerprint(SPEC)} AS fingerprint FROM (SELECT source_id AS external_id, 'crm-' || source_id AS crm_id, {shown},"
            " now() AS captured_at FROM staging.course LEFT JOIN edit e ON e.key = source_id)"
        )
        con.execute(
            f"INSERT INTO sync.ledger SELECT 'course', source_id, 'crm-' || source_id, to_json(map([{names}], [{applied}])),"
            " 'run', now() FROM staging.course"
        )
        con.execute("CHECKPOINT")


def _compare(warehouse: Path, answer: Path, rounds: int, settings: dict[str, str]) -> None:
    """Limit, delta and its parts in turns, and whether the delta is what was edited."""
    limits: list[tuple[float, float]] = []
    deltas: list[tuple[float, float]] = []
    hashes: list[float] = []
    again: list[float] = []
    peak = 0.0
    with connect(warehouse, settings) as con:
        for number in range(rounds):
            deltas.append(_timed(lambda: build_delta(con, SPEC)))
            peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB
            limits.append(_timed(lambda: _read(con)))
            hashes.append(_timed(lambda: _find_by_hashes(con))[0])
            con.execute("BEGIN")
            con.execute(f"UPDATE staging.course SET observed_at = now() WHERE hash(source_id) % 20 = {number}")
            again.append(_timed(lambda: refresh_desired(con, SPEC))[0])
            con.execute("ROLLBACK")
        updates = read_counts(con, SPEC.object).update
        wrong = scalar(
            con,
            "SELECT count(*) FROM delta.course d FULL JOIN edit e ON e.key = d.external_id"
            " WHERE d.external_id IS NULL OR e.key IS NULL OR d.action <> 'update' OR d.class <> 'drift'"
            " OR list_transform(d.changes, lambda c: c.field) <> [e.field]",
        )
    limit, limit_cpu, delta, delta_cpu = (
        median(one[which] for one in measured) for measured in (limits, deltas) for which in (0, 1)
    )
    compared = Compared(limit, limit_cpu, delta, delta_cpu, median(hashes), median(again), peak, updates, wrong)
    answer.write_text(json.dumps(asdict(compared)), encoding="utf-8")


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and seconds of processor time, of both processors."""
    started, spent = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - started, time.process_time() - spent


def _read(con: duckdb.DuckDBPyConnection) -> None:
    for table in ("staging.course", "crm_snapshot.course"):
        con.execute(f"SELECT sum(hash(*COLUMNS(*))) FROM {table}").fetchall()


def _find_by_hashes(con: duckdb.DuckDBPyConnection) -> None:
    refresh_desired(con, SPEC)
    find_differing(con, SPEC)
    con.execute("DROP TABLE differing")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build", warehouse, rows, edits]:
            _build(Path(warehouse), int(rows), int(edits))
        case ["compare", warehouse, answer, rounds, settings]:
            _compare(Path(warehouse), Path(answer), int(rounds), json.loads(settings))
        case _:
            for figure in measure():
                print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value:,.2f} {figure.unit}")
