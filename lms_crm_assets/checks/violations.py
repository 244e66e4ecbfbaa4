"""Finding the invalid rows of a candidate table: pandera over Arrow chunks, and SQL where rows meet other rows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import duckdb
import polars as pl
import pyarrow as pa
from pandera.errors import SchemaErrors

from lms_crm_assets.checks import codes
from lms_crm_assets.checks.row_rules import OWN_PREFIX
from lms_crm_assets.checks.rules import Rules
from lms_crm_assets.domain import LmsEntity, RuleSeverity
from lms_crm_assets.warehouse.sql import literal, quoted

# Larger chunks are hungrier and no faster; smaller ones are slower.
CHUNK_ROWS = 100_000

_FOUND_SCHEMA = {"rid": pl.Int64, "code": pl.String, "what": pl.String}


def find_violations(con: duckdb.DuckDBPyConnection, entity: LmsEntity, rules: Rules) -> None:
    """Make the temp table `violation (rid, code, column, rule, severity)` for the temp table `candidate`.

    `candidate` has typed columns, a row number `rid`, in `unreadable` the columns whose text has not their type, and what
    the rules look at beside: `state_before` and, of completions, `enrolled_at`. `rule` is the code's, or the name of a rule
    of the tenant's own.
    """
    find_row_violations(con, rules)
    _across_rows(con, entity, rules)


def find_row_violations(con: duckdb.DuckDBPyConnection, rules: Rules) -> None:
    """The same of what a row violates by itself, without the other rows."""
    con.execute(
        'CREATE OR REPLACE TEMP TABLE violation AS SELECT rid, $1::VARCHAR AS code, unnest(unreadable) AS "column",'
        " $2::VARCHAR AS rule, $3::VARCHAR AS severity FROM candidate",
        [codes.TYPE.code, codes.TYPE.rule, RuleSeverity.ERROR],
    )
    found = pl.concat([pl.DataFrame(schema=_FOUND_SCHEMA), *_by_row(con, rules)])
    con.register("found", found.to_arrow())
    con.register("known", _known(rules).to_arrow())
    # What can't be read is not also missing.
    con.execute(
        'INSERT INTO violation SELECT DISTINCT f.rid, f.code, k."column", k.rule, k.severity FROM found f'
        ' JOIN known k USING (code, what) ANTI JOIN violation v ON v.rid = f.rid AND v."column" = k."column"'
    )
    con.unregister("found")
    con.unregister("known")


def _known(rules: Rules) -> pl.DataFrame:
    """The rules by what a finding names: the column, or the name of a rule of the tenant's own."""
    return pl.DataFrame(
        [
            (
                rule.code,
                rule.name if rule.code == codes.OWN.code else rule.column,
                rule.column,
                rule.name,
                str(rule.severity),
            )
            for rule in rules.rules
        ],
        schema=dict.fromkeys(("code", "what", "column", "rule", "severity"), pl.String),
        orient="row",
    )


def _by_row(con: duckdb.DuckDBPyConnection, rules: Rules) -> Iterator[pl.DataFrame]:
    for frame in _breaking(con, rules):
        try:
            rules.schema.validate(frame, lazy=True)
        except SchemaErrors as exc:
            yield _found(exc.failure_cases, frame["rid"])


def _breaking(con: duckdb.DuckDBPyConnection, rules: Rules) -> Iterator[pl.DataFrame]:
    """The rows that break any rule. To say which one takes pandera as long as to find them among a hundred times as many."""
    own = "".join(f", {rule.sql} AS {quoted(OWN_PREFIX + rule.name)}" for rule in rules.own)
    # Columns that no rule looks at would take half of the time.
    query = f"SELECT {', '.join(map(quoted, ('rid', *rules.columns)))}{own} FROM candidate"
    waiting: list[pa.RecordBatch] = []
    for chunk in _chunks(con, query):
        breaks = pl.DataFrame(pl.from_arrow(chunk)).select(~rules.passes).to_series()
        # By Arrow, which copies them: the rows that polars filters hold on to the whole chunk's texts.
        waiting.append(chunk.filter(breaks.to_arrow()))
        if sum(each.num_rows for each in waiting) >= CHUNK_ROWS:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(waiting)))
            waiting.clear()
    if any(each.num_rows for each in waiting):
        yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(waiting)))


def _chunks(con: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query. While one chunk is looked at the next one is read, which takes as long."""
    reader = con.sql(query).to_arrow_reader(CHUNK_ROWS)
    with ThreadPoolExecutor(1) as reading:
        coming = reading.submit(next, reader, None)
        while (chunk := coming.result()) is not None:
            coming = reading.submit(next, reader, None)
            yield chunk


def _found(failures: pl.DataFrame, rids: pl.Series) -> pl.DataFrame:
    """Pandera's failure cases by row: a missing value is named `not_nullable`, a check `<code> <what>`."""
    named = pl.col("check").str.split_exact(" ", 1)
    missing = pl.col("check") == "not_nullable"
    return failures.select(
        rid=rids.gather(failures["index"]),
        code=pl.when(missing).then(pl.lit(codes.REQUIRED.code)).otherwise(named.struct[0]),
        what=pl.when(missing).then(pl.col("column")).otherwise(named.struct[1]),
    ).cast(_FOUND_SCHEMA)  # type: ignore[arg-type]  # the stubs ask for selectors


def _across_rows(con: duckdb.DuckDBPyConnection, entity: LmsEntity, rules: Rules) -> None:
    # A CRM's unique field may not tell upper from lower case.
    _note(
        con,
        rules,
        codes.DUPLICATE,
        f"SELECT rid FROM ({_shared('source_id')})",
    )
    # A learner who is refused anyway doesn't spoil the address for the one who keeps it.
    _note(
        con,
        rules,
        codes.SHARED_EMAIL,
        f"SELECT rid FROM ({_shared('email')}) ANTI JOIN (SELECT rid FROM violation WHERE severity = 'error') USING (rid)"
        " QUALIFY count(*) OVER (PARTITION BY same) > 1",
    )
    for code, column, table in (
        (codes.UNKNOWN_LEARNER, "learner_id", "learner"),
        (codes.UNKNOWN_COURSE, "course_id", "course"),
    ):
        _note(
            con,
            rules,
            code,
            f"SELECT rid FROM candidate c ANTI JOIN staging.{table} p ON p.source_id = c.{column}"
            f" WHERE c.{column} IS NOT NULL",
        )
    if entity in {LmsEntity.COMPLETIONS, LmsEntity.SCORES}:
        _note(
            con,
            rules,
            codes.UNKNOWN_ENROLLMENT,
            "SELECT rid FROM candidate c ANTI JOIN staging.enrollment e USING (learner_id, course_id)"
            " WHERE c.learner_id IS NOT NULL AND c.course_id IS NOT NULL",
        )


def _shared(column: str) -> str:
    """The rows whose value others have too, but for upper and lower case, as `rid` and `same`.

    To count first and then look for the few takes less than half of what a window over all rows does.
    """
    same = f"lower({quoted(column)})"
    return (
        f"SELECT rid, {same} AS same FROM candidate SEMI JOIN"
        f" (SELECT {same} AS often FROM candidate GROUP BY ALL HAVING count(*) > 1) ON {same} = often"
    )


def _note(con: duckdb.DuckDBPyConnection, rules: Rules, code: codes.Code, rids: str) -> None:
    """Note the rows that a query finds, if the rules look at the code; it judges one column of an entity."""
    for rule in rules.rules:
        if rule.code == code.code:
            told = ", ".join(literal(each) for each in (rule.code, rule.column, rule.name, rule.severity))
            con.execute(f"INSERT INTO violation SELECT rid, {told} FROM ({rids})")
