"""The rules on learners, of which there are most: ours against SQL by hand at 5M rows, against pandera on pandas at 1M.

Each measurement is a process of its own with the settings that a run has; in turns, medians of three. All have to find the
same violations. What is measured goes from the typed rows to the table of violations, the rules across rows with it.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import duckdb

from benchmarks.results import Figure
from benchmarks.validation_rows import SEED, write_learners
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.warehouse.connection import connect

ROOT = Path(__file__).parent.parent
ROUNDS = 3
MANY, SOME = 5_000_000, 1_000_000
MIB_ALLOWED = 600
# Either is enough: as quick as SQL, or half as quick in little memory. More than this is never right.
_MOST_MIB = 900
_KIB = 1024
_DIGEST = 'SELECT count(*), sum(hash(rid, code, "column"))::VARCHAR FROM violation'


@dataclass(frozen=True)
class Found:
    """What one process took, its peak in MiB, and a digest of what it found. `cpu_seconds` are shown, for a busy machine."""

    seconds: float
    cpu_seconds: float
    peak: float
    digest: str


def measure() -> list[Figure]:
    """Compare at both sizes; the figures."""
    print(f"validation: seed {SEED}", flush=True)
    sql, ours = _measured(MANY, "sql", "ours")
    pandas, ours_of_some = _measured(SOME, "pandas", "ours")
    ratio = ours.seconds / sql.seconds
    lean = ours.peak < MIB_ALLOWED
    either = f"2 while the peak is under {MIB_ALLOWED} MiB, else 1.2"
    return [
        Figure(f"validation of 5M: time against SQL by hand ({either})", ratio, 2.0 if lean else 1.2, "×"),
        Figure(
            f"validation of 5M: peak memory ({MIB_ALLOWED} if it takes more than 1.2 × SQL by hand)",
            ours.peak,
            MIB_ALLOWED if ratio > 1.2 else _MOST_MIB,
            "MiB",
        ),
        Figure("validation of 1M: time against pandera on pandas", ours_of_some.seconds / pandas.seconds, 0.25, "×"),
    ]


def _measured(rows: int, *ways: str) -> list[Found]:
    """The medians of each way."""
    with tempfile.TemporaryDirectory() as folder:
        _run("write", f"{folder}/w.duckdb", str(rows))
        rounds: dict[str, list[Found]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, found in rounds.items():
                answer = Path(folder, "answer")
                _run("find", f"{folder}/w.duckdb", way, str(answer))
                found.append(Found(**json.loads(answer.read_bytes())))
    for way, found in rounds.items():
        took = ", ".join(f"{one.seconds:.2f} s (CPU {one.cpu_seconds:.2f})" for one in found)
        print(f"validation of {rows:,}, {way}: {took}; peak {max(one.peak for one in found):,.0f} MiB", flush=True)
    every = [one for found in rounds.values() for one in found]
    if len({one.digest for one in every}) > 1:
        raise SystemExit(f"{' and '.join(ways)} don't find the same violations")
    return [
        Found(
            median(o.seconds for o in found),
            median(o.cpu_seconds for o in found),
            max(o.peak for o in found),
            found[0].digest,
        )
        for found in rounds.values()
    ]


def _run(*arguments: str) -> None:
    """Run this module in a new process. It starts with the peak of this one, in which nothing big may happen."""
    subprocess.run([sys.executable, "-m", "benchmarks.validation", *arguments], cwd=ROOT, check=True)


def _find(warehouse: Path, way: str, answer: Path) -> None:
    find = _by_sql if way == "sql" else _by_pandas if way == "pandas" else _by_us
    with connect(warehouse) as con:
        con.execute("CREATE TEMP TABLE candidate AS FROM learners")
        busy = time.process_time()
        seconds = find(con)
        busy = time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB
        number, digest = con.execute(_DIGEST).fetchall()[0]
    answer.write_text(json.dumps(asdict(Found(seconds, busy, peak, f"{number} {digest}"))), encoding="utf-8")


# Each process imports what it measures and no more: libraries are a part of the peak.
def _by_us(con: duckdb.DuckDBPyConnection) -> float:
    from lms_crm_assets.checks.rules import rules_for  # noqa: PLC0415 - see above
    from lms_crm_assets.checks.violations import find_violations  # noqa: PLC0415 - see above

    rules = rules_for(ChecksPolicy(), LmsEntity.LEARNERS)
    started = time.monotonic()
    find_violations(con, LmsEntity.LEARNERS, rules)
    seconds = time.monotonic() - started
    broken = set(con.execute('SELECT DISTINCT code, "column" FROM violation').fetchall())
    if unbroken := {(rule.code, rule.column) for rule in rules.rules} - broken:
        raise SystemExit(
            f"validation_rows has to break {unbroken} too, and validation_sql and validation_pandas to know it"
        )
    return seconds


def _by_sql(con: duckdb.DuckDBPyConnection) -> float:
    from benchmarks.validation_sql import violations_by_sql  # noqa: PLC0415 - see above

    started = time.monotonic()
    violations_by_sql(con)
    return time.monotonic() - started


def _by_pandas(con: duckdb.DuckDBPyConnection) -> float:
    from benchmarks.validation_pandas import violations_by_pandas  # noqa: PLC0415 - see above

    started = time.monotonic()
    violations_by_pandas(con)
    return time.monotonic() - started


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", warehouse, rows]:
            write_learners(Path(warehouse), int(rows))
        case ["find", warehouse, way, answer]:
            _find(Path(warehouse), way, Path(answer))
        case _:
            for figure in measure():
                print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value:,.2f} {figure.unit}")
