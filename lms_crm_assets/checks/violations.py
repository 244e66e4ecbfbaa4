"""Finding the invalid rows of a candidate table: pandera over Arrow chunks, and SQL where rows meet other rows."""

from collections.abc import Iterator

import duckdb
import polars as pl
from pandera.errors import SchemaErrors

from lms_crm_assets.checks import codes
from lms_crm_assets.checks.row_rules import OWN_PREFIX
from lms_crm_assets.checks.rules import Rules
from lms_crm_assets.domain import LmsEntity, RuleSeverity
from lms_crm_assets.warehouse.sql import literal, quoted

# Larger chunks are faster and hungrier: 250,000 rows keep 5M rows under 600 MB (facts: performance).
CHUNK_ROWS = 250_000

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
    schema = rules.schema
    own = "".join(f", {rule.sql} AS {quoted(OWN_PREFIX + rule.name)}" for rule in rules.own)
    # No rule that comes with us looks into `extra`, whose rows can be large.
    query = f"SELECT * EXCLUDE (unreadable, extra){own} FROM candidate"
    for batch in con.sql(query).to_arrow_reader(CHUNK_ROWS):
        frame = pl.DataFrame(pl.from_arrow(batch))
        try:
            schema.validate(frame, lazy=True)
        except SchemaErrors as exc:
            yield _found(exc.failure_cases, frame["rid"])


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
        "SELECT rid FROM candidate WHERE source_id IS NOT NULL QUALIFY count(*) OVER (PARTITION BY lower(source_id)) > 1",
    )
    # A learner who is refused anyway doesn't spoil the address for the one who keeps it.
    _note(
        con,
        rules,
        codes.SHARED_EMAIL,
        "SELECT rid FROM candidate ANTI JOIN (SELECT rid FROM violation WHERE severity = 'error') USING (rid)"
        " WHERE email IS NOT NULL QUALIFY count(*) OVER (PARTITION BY lower(email)) > 1",
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


def _note(con: duckdb.DuckDBPyConnection, rules: Rules, code: codes.Code, rids: str) -> None:
    """Note the rows that a query finds, if the rules look at the code; it judges one column of an entity."""
    for rule in rules.rules:
        if rule.code == code.code:
            told = ", ".join(literal(each) for each in (rule.code, rule.column, rule.name, rule.severity))
            con.execute(f"INSERT INTO violation SELECT rid, {told} FROM ({rids})")
