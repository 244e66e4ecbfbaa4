"""The rules on learners for pandera's pandas backend, a line a rule. It has to find what the product finds, row by row."""

from collections.abc import Callable

import duckdb
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from benchmarks.validation_rules import (
    EMAIL,
    FORMULA,
    LONGEST,
    LOST,
    MANGLED,
    NAMES,
    NO_KEY,
    REQUIRED,
    SHORT,
    STATUSES,
    UNPRINTABLE,
    WHOLE,
)


def _check(code: str, column: str, broken: Callable[[pd.DataFrame], pd.Series]) -> pa.Check:
    """What is unknown of a missing value is not broken; that it is missing is another rule."""
    return pa.Check(lambda rows: ~_surely(broken(rows)), name=f"{code} {column}")


def _on(column: str, broken: Callable[[pd.Series], pd.Series]) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda rows: broken(rows[column])


def _surely(verdicts: pd.Series) -> pd.Series:
    return verdicts.fillna(value=False).astype(bool)


def _is_deleted(rows: pd.DataFrame) -> pd.Series:
    return _surely(rows["username"].str.contains(MANGLED, regex=True))


PANDAS_SCHEMA = pa.DataFrameSchema(
    {column: pa.Column(nullable=False) for column in REQUIRED},
    checks=[
        _check(
            "LMS-103",
            "source_id",
            _on("source_id", lambda v: (v.str.len() > LONGEST) | _surely(v.str.contains(NO_KEY))),
        ),
        _check(
            "LMS-104", "email", lambda r: r["email"].notna() & ~_surely(r["email"].str.match(EMAIL)) & ~_is_deleted(r)
        ),
        _check("LMS-106", "username", _is_deleted),
        _check("LMS-105", "status", lambda r: r["status"].notna() & ~r["status"].isin(STATUSES) & ~_is_deleted(r)),
        *(_check("LMS-102", c, _on(c, lambda v: v.str.contains(LOST, regex=False))) for c in WHOLE),
        *(_check("LMS-107", c, _on(c, lambda v: v.str.len() > LONGEST)) for c in SHORT),
        *(_check("LMS-108", c, _on(c, lambda v: v.str.match(FORMULA))) for c in NAMES),
        *(_check("LMS-111", c, _on(c, lambda v: v.str.contains(UNPRINTABLE))) for c in NAMES),
        _check("LMS-201", "source_id", _on("source_id", lambda v: v.notna() & v.str.lower().duplicated(keep=False))),
    ],
)


def violations_by_pandas(con: duckdb.DuckDBPyConnection) -> None:
    """Make the temp table `violation` from `candidate` with pandas and pandera alone."""
    rows = con.execute("SELECT * EXCLUDE (extra, unreadable) FROM candidate").df()
    found = [con.execute("SELECT rid, 'LMS-102' AS code, unnest(unreadable) AS \"column\" FROM candidate").df()]
    try:
        PANDAS_SCHEMA.validate(rows, lazy=True)
    except SchemaErrors as exc:
        found.append(_named(exc.failure_cases, rows["rid"]))
    bad = pd.concat(found)
    living = rows.loc[~rows["rid"].isin(bad["rid"]), ["rid", "email"]].dropna()
    shared = living.loc[living["email"].str.lower().duplicated(keep=False), "rid"]
    bad = pd.concat([bad, pd.DataFrame({"rid": shared, "code": "LMS-202", "column": "email"})])
    con.execute('CREATE OR REPLACE TEMP TABLE violation AS SELECT DISTINCT rid, code, "column" FROM bad')


def _named(failures: pd.DataFrame, rids: pd.Series) -> pd.DataFrame:
    """Failure cases as violations: a check of the whole frame has one for each column of a failing row."""
    failures = failures.drop_duplicates(["check", "column", "index"])
    missing = failures["check"] == "not_nullable"
    named = failures["check"].str.split(" ", n=1, expand=True)
    return pd.DataFrame(
        {
            "rid": rids.loc[failures["index"].astype("int64")].to_numpy(),
            "code": named[0].where(~missing, "LMS-101").to_numpy(),
            "column": named[1].where(~missing, failures["column"]).to_numpy(),
        }
    )
