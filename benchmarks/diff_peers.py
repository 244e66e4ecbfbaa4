"""The delta of 1M records of 12 columns beside pandas, datacompy and reladiff, which have to find the same changes.

They know no spellings: they get both sides as texts in normal form, so that what costs us most in a delta is done for them.
Ours has the ledger to look into beside, and writes a table. All take turns, each time in a process of its own.
"""

import json
import subprocess
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import peers
from benchmarks.diff import SPEC, Compared, run
from benchmarks.results import Figure
from lms_crm_assets.delta.compare import live_side
from lms_crm_assets.delta.desired import desired_rows
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import literal

ROWS, EDITS, ROUNDS = 1_000_000, 10_000, 3
# How often the peer's time at most, in ours.
GOALS = {"pandas": 1 / 15, "reladiff": 1 / 30, "datacompy": 1 / 2}


def measure(rows: int = ROWS, edits: int = EDITS) -> list[Figure]:
    """All of them in turns; the figures."""
    ours: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in GOALS}
    other: dict[str, int] = dict.fromkeys(GOALS, 0)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        warehouse, plain, answer = Path(folder, "w.duckdb"), Path(folder, "plain.duckdb"), Path(folder, "answer")
        run("build", str(warehouse), str(rows), str(edits))
        run("compare", str(warehouse), str(answer), "1", "{}")
        edited = _plain_tables(warehouse, plain)
        for _ in range(ROUNDS):
            run("compare", str(warehouse), str(answer), "1", "{}")
            own = Compared(**json.loads(answer.read_bytes()))
            ours.append(own.delta)
            wrong = max(wrong, own.wrong)
            for name in GOALS:
                command = [str(peers.python()), "benchmarks/diff_peer.py", name, str(plain), str(answer)]
                subprocess.run(command, cwd=peers.ROOT, check=True)
                found = json.loads(answer.read_bytes())
                taken[name].append(found["seconds"])
                other[name] = max(other[name], len(edited ^ {(key, field) for key, field in found["found"]}))
                print(
                    f"diff of {rows:,} by {name} {peers.VERSIONS[name]}: {found['seconds']:.1f} s,"
                    f" {found['peak']:,.0f} MiB, {other[name]:,} changes other than those made; ours {own.delta:.2f} s,"
                    f" {own.peak:,.0f} MiB, {own.wrong:,} wrong",
                    flush=True,
                )
    return [
        *(
            Figure(f"diff of 1M × 12 columns: time against {name}", median(ours) / median(taken[name]), goal, "×")
            for name, goal in GOALS.items()
        ),
        Figure(
            "diff of 1M × 12 columns: changes that we or a peer see otherwise",
            wrong + sum(other.values()),
            0,
            "changes",
        ),
    ]


def _plain_tables(warehouse: Path, plain: Path) -> set[tuple[str, str]]:
    """Both sides in normal form in a file of their own; gives the edits that were made, as key and field."""
    with connect(warehouse) as con:
        con.execute(f"ATTACH {literal(str(plain))} AS plain")
        ours = desired_rows(SPEC, "SELECT external_id FROM delta.desired_course")
        con.execute(f"CREATE TABLE plain.ours AS {ours}")
        con.execute(f"CREATE TABLE plain.theirs AS SELECT * EXCLUDE crm_id FROM ({live_side(SPEC, 'true')})")
        con.execute("DETACH plain")
        return set(con.execute("SELECT key, field FROM edit").fetchall())
