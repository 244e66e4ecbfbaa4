"""A delta of 1 % into a ledger of 10M records, as a delivery folds it in, against MERGE; and how the file grows by it.

Each round opens the warehouse, replaces the entries of every hundredth record, another one each time, and closes it, which
writes it to the file. Both ways take the same entries in turns, each in a file of its own that began as the same one.
After each round of ours comes what the nightly purge does: a file that is worn is written anew. `append` is the least that a state could take: the entries put at the end, and nothing taken away.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import duckdb

from benchmarks.results import Figure
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.sync.journal import replace_entries
from lms_crm_assets.warehouse.connection import connect, transaction
from lms_crm_assets.warehouse.rewriting import rewrite_if_worn
from lms_crm_assets.warehouse.sql import scalar

ROWS, ROUNDS, COMPARED = 10_000_000, 20, 3
_SHARE = 100
_APPLIED = "to_json(map(['name', 'state'], ['Learner ' || i % 100000, ['open', 'closed', 'done'][(hash(i + {}) % 3)::INT + 1]]))"


def _entries(rows: int, number: int) -> str:
    """SQL of one round's entries: a hundredth of all records, spread over all of them."""
    return (
        "SELECT 'course' AS object, 'course-' || i AS external_id, 'crm-' || i AS crm_id,"
        f" {_APPLIED.format(number)} AS applied, 'run-{number}' AS sync_run_id, now() AS synced_at"
        f" FROM (SELECT k * {_SHARE} + hash(k + {number}) % {_SHARE} AS i FROM range({rows // _SHARE}) t(k))"
    )


def _append(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("INSERT INTO sync.ledger BY NAME FROM entry")


def _ours(con: duckdb.DuckDBPyConnection) -> None:
    replace_entries(con, CrmObject.COURSE)


def _merge(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "MERGE INTO sync.ledger g USING entry e ON g.object = e.object AND g.external_id = e.external_id"
        " WHEN MATCHED THEN UPDATE SET crm_id = e.crm_id, applied = e.applied, sync_run_id = e.sync_run_id,"
        " synced_at = e.synced_at WHEN NOT MATCHED THEN INSERT BY NAME"
    )


def measure(rows: int = ROWS) -> list[Figure]:
    """Twenty rounds of ours, the first of them beside MERGE and append; the figures."""
    ways: dict[str, Callable[[duckdb.DuckDBPyConnection], None]] = {"append": _append, "merge": _merge, "ours": _ours}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.duckdb") for name in ways}
        _build(files["ours"], rows)
        for name in ("append", "merge"):
            shutil.copy(files["ours"], files[name])
        before = files["ours"].stat().st_size
        largest = size = before
        for number in range(ROUNDS):
            for name, way in ways.items():
                if name == "ours" or number < COMPARED:
                    taken[name].append(_round(files[name], rows, number, way))
            rewrite_if_worn(files["ours"])
            largest = max(largest, size := files["ours"].stat().st_size)
        # Judged by DuckDB alone, without the warehouse's limit of memory.
        with duckdb.connect(str(files["ours"]), read_only=True) as con:
            wrong = abs(rows - scalar(con, "SELECT count(DISTINCT external_id) FROM sync.ledger"))
            wrong += abs(rows - scalar(con, "SELECT count(*) FROM sync.ledger"))
    append, merge, ours = (median(taken[name][:COMPARED]) for name in ways)
    print(
        f"a hundredth of {rows:,} into the ledger: append {append:.2f} s, ours {ours:.2f} s (the last"
        f" {taken['ours'][-1]:.2f} s), MERGE {merge:.2f} s; the file is {size / before:.2f} × what it was, at most {largest / before:.2f} ×",
        flush=True,
    )
    return [
        Figure("1 % delta into 10M rows of state: time against MERGE", ours / merge, 1 / 5, "×"),
        Figure("1 % delta into 10M rows of state: file after 20 rounds and nights", size / before, 1.3, "×"),
        Figure("1 % delta into 10M rows of state: records twice or not at all", wrong, 0, "records"),
    ]


def _build(file: Path, rows: int) -> None:
    with connect(file) as con:
        con.execute(
            "INSERT INTO sync.ledger SELECT 'course', 'course-' || i, 'crm-' || i,"
            f" {_APPLIED.format(-1)}, 'run', now() FROM range({rows}) t(i)"
        )


def _round(file: Path, rows: int, number: int, way: Callable[[duckdb.DuckDBPyConnection], None]) -> float:
    """One round's seconds, from opening the warehouse until it is closed, without the making of the entries."""
    started = time.monotonic()
    with connect(file) as con:
        making = time.monotonic()
        con.execute(f"CREATE OR REPLACE TEMP TABLE entry AS {_entries(rows, number)}")
        started += time.monotonic() - making
        with transaction(con):
            way(con)
        con.execute("DROP TABLE entry")
    return time.monotonic() - started


if __name__ == "__main__":
    for figure in measure(1_000_000):
        print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value:,.2f} {figure.unit}")
