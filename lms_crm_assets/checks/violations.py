"""Finding the invalid rows of a candidate table: pandera over Arrow chunks, and SQL where rows meet other rows."""

from collections.abc import Iterator

import duckdb
import polars as pl
from pandera.errors import SchemaErrors

from lms_crm_assets.checks import codes
from lms_crm_assets.checks.schemas import SCHEMAS
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.warehouse.sql import literal

# Larger chunks are faster and hungrier: 250,000 rows keep 5M rows under 600 MB (facts: performance).
CHUNK_ROWS = 250_000

_VIOLATION_SCHEMA = {"rid": pl.Int64, "code": pl.String, "column": pl.String}


def find_violations(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> None:
    """Make the temp table `violation (rid, code, column)` for the temp table `candidate`.

    `candidate` has typed columns, a row number `rid` and in `unreadable` the columns whose text has not their type.
    """
    find_row_violations(con, entity)
    _across_rows(con, entity)


def find_row_violations(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> None:
    """The same of what a row violates by itself, without the other rows."""
    con.execute(
        'CREATE OR REPLACE TEMP TABLE violation AS SELECT rid, $1::VARCHAR AS code, unnest(unreadable) AS "column"'
        " FROM candidate",
        [codes.TYPE.code],
    )
    found = pl.concat([pl.DataFrame(schema=_VIOLATION_SCHEMA), *_by_row(con, entity)])
    con.register("found", found.to_arrow())
    # What can't be read is not also missing.
    con.execute(
        'INSERT INTO violation SELECT DISTINCT f.rid, f.code, f."column" FROM found f'
        ' ANTI JOIN violation v ON v.rid = f.rid AND v."column" = f."column"'
    )
    con.unregister("found")


def _by_row(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> Iterator[pl.DataFrame]:
    schema = SCHEMAS[entity]
    # No rule looks into `extra`, whose rows can be large.
    for batch in con.sql("SELECT * EXCLUDE (unreadable, extra) FROM candidate").to_arrow_reader(CHUNK_ROWS):
        frame = pl.DataFrame(pl.from_arrow(batch))
        try:
            schema.validate(frame, lazy=True)
        except SchemaErrors as exc:
            yield _violations(exc.failure_cases, frame["rid"])


def _violations(failures: pl.DataFrame, rids: pl.Series) -> pl.DataFrame:
    """Pandera's failure cases as violations: a missing value is named `not_nullable`, a check `<code> <column>`."""
    named = pl.col("check").str.split_exact(" ", 1)
    missing = pl.col("check") == "not_nullable"
    return failures.select(
        rid=rids.gather(failures["index"]),
        code=pl.when(missing).then(pl.lit(codes.REQUIRED.code)).otherwise(named.struct[0]),
        column=pl.when(missing).then(pl.col("column")).otherwise(named.struct[1]),
    ).cast(_VIOLATION_SCHEMA)  # type: ignore[arg-type]  # the stubs ask for selectors


def _across_rows(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> None:
    _note(
        con,
        codes.DUPLICATE,
        "source_id",
        # A CRM's unique field may not tell upper from lower case.
        "SELECT rid FROM candidate WHERE source_id IS NOT NULL QUALIFY count(*) OVER (PARTITION BY lower(source_id)) > 1",
    )
    if entity is LmsEntity.LEARNERS:
        # A learner who is refused anyway doesn't spoil the address for the one who keeps it.
        _note(
            con,
            codes.SHARED_EMAIL,
            "email",
            "SELECT rid FROM candidate ANTI JOIN violation USING (rid) WHERE email IS NOT NULL"
            " QUALIFY count(*) OVER (PARTITION BY lower(email)) > 1",
        )
    if entity not in (LmsEntity.LEARNERS, LmsEntity.COURSES):
        for code, column, table in (
            (codes.UNKNOWN_LEARNER, "learner_id", "learner"),
            (codes.UNKNOWN_COURSE, "course_id", "course"),
        ):
            _note(
                con,
                code,
                column,
                f"SELECT rid FROM candidate c ANTI JOIN staging.{table} p ON p.source_id = c.{column}"
                f" WHERE c.{column} IS NOT NULL",
            )


def _note(con: duckdb.DuckDBPyConnection, code: codes.Code, column: str, rids: str) -> None:
    con.execute(f"INSERT INTO violation SELECT rid, {literal(code.code)}, {literal(column)} FROM ({rids})")
