"""Two tables compared with one of the peers, as its documentation shows it; run by the peers' own Python.

`python diff_peer.py PEER DATABASE ANSWER`: the tables `ours` and `theirs` of a DuckDB file have the same columns, all text,
with the key `external_id`. Writes seconds from opening the file until every changed field is known, the process's peak
memory in MiB, and the changes as key and field.
"""

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import duckdb

KEY = "external_id"
Changes = list[tuple[str, str]]


def by_pandas(database: str) -> Changes:
    """An outer merge, and each column against its like."""
    with duckdb.connect(database, read_only=True) as con:
        ours, theirs = con.execute("FROM ours").df(), con.execute("FROM theirs").df()
    both = ours.merge(theirs, on=KEY, how="outer", suffixes=("", " there"), indicator=True)
    found: Changes = [(key, "") for key in both.loc[both["_merge"] != "both", KEY]]
    for name in ours.columns.drop(KEY):
        here, there = both[name], both[f"{name} there"]
        differs = (here != there) & ~(here.isna() & there.isna())
        found += [(key, name) for key in both.loc[differs.fillna(value=True) & (both["_merge"] == "both"), KEY]]
    return found


def by_datacompy(database: str) -> Changes:
    """On polars, which is its quickest."""
    import datacompy  # noqa: PLC0415 - only the peer that is measured
    import polars as pl  # noqa: PLC0415

    with duckdb.connect(database, read_only=True) as con:
        ours, theirs = con.execute("FROM ours").pl(), con.execute("FROM theirs").pl()
    compared: Any = datacompy.PolarsCompare(ours, theirs, join_columns=KEY)
    found: Changes = [(key, "") for rows in (compared.df1_unq_rows, compared.df2_unq_rows) for key in rows[KEY]]
    for name in (name for name in ours.columns if name != KEY):
        differs = compared.intersect_rows.filter(~pl.col(f"{name}_match"))
        found += [(key, name) for key in differs[KEY]]
    return found


def by_reladiff(database: str) -> Changes:
    """By a join in the database, since both tables are in one."""
    import reladiff  # noqa: PLC0415

    with duckdb.connect(database, read_only=True) as con:
        names = [row[0] for row in con.execute("DESCRIBE ours").fetchall() if row[0] != KEY]
    there: dict[str, Any] = {"driver": "duckdb", "filepath": database}
    tables = [reladiff.connect_to_table(there, name, KEY, extra_columns=tuple(names)) for name in ("ours", "theirs")]
    rows: dict[str, list[tuple[str, ...]]] = {}
    for _, row in reladiff.diff_tables(*tables, algorithm=reladiff.Algorithm.JOINDIFF):
        rows.setdefault(row[0], []).append(row[1:])
    found: Changes = []
    for key, pair in rows.items():
        if len(pair) == 1:
            found.append((key, ""))
        else:
            found += [(key, name) for name, here, there_ in zip(names, *pair, strict=True) if here != there_]
    return found


PEERS = {"pandas": by_pandas, "datacompy": by_datacompy, "reladiff": by_reladiff}


def main() -> None:
    """One comparison."""
    peer, database, answer = sys.argv[1:]
    # To load the package is no part of the comparison.
    importlib.import_module(peer)
    started = time.monotonic()
    found = PEERS[peer](database)
    taken = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path(answer).write_text(json.dumps({"seconds": taken, "peak": peak, "found": found}), encoding="utf-8")


if __name__ == "__main__":
    main()
