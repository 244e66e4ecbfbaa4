"""What a build found to be wrong, kept: refused rows, rows that passed with a warning, and how many there are, by day too.

Owns the tables `staging.quarantine`, `staging.warnings`, `staging.broken` and `staging.invalid_days`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from lms_crm_assets.checks.codes import TRANSITION
from lms_crm_assets.checks.row_rules import STATE_BEFORE
from lms_crm_assets.domain import LmsEntity, RuleSeverity
from lms_crm_assets.warehouse.sql import literal, quoted, scalar

_TABLES: Mapping[RuleSeverity, str] = {
    RuleSeverity.ERROR: "staging.quarantine",
    RuleSeverity.WARN: "staging.warnings",
}
_KEPT_DAYS = 400


def note_refused(con: duckdb.DuckDBPyConnection, entity: LmsEntity, texts: Sequence[str], now: datetime) -> None:
    """Keep what the temp table `violation` says of the temp tables `read` and `candidate`.

    Rows that are still refused keep when they were first seen; mended rows are released. `texts` are the columns that
    `read` has.
    """
    # Of a row that is refused nobody has to be warned.
    con.execute(
        "DELETE FROM violation WHERE severity = 'warn' AND rid IN (SELECT rid FROM violation WHERE severity = 'error')"
    )
    for severity, table in _TABLES.items():
        # Most often there is nothing to note, and a query that notes nothing takes as long.
        found = scalar(con, "SELECT count(*) FROM violation WHERE severity = $1", [severity])
        if found or scalar(con, f"SELECT count(*) FROM {table} WHERE entity = $1", [entity]):
            _note(con, entity, severity, table, texts, now)
    con.execute("DELETE FROM staging.broken WHERE entity = $1", [entity])
    con.execute(
        'INSERT INTO staging.broken SELECT $1, code, rule, "column", severity, count(DISTINCT rid) FROM violation GROUP BY ALL',
        [entity],
    )
    con.execute("DELETE FROM staging.invalid_days WHERE entity = $1 AND day = $2::TIMESTAMPTZ::DATE", [entity, now])
    con.execute(f"DELETE FROM staging.invalid_days WHERE day < $1::TIMESTAMPTZ::DATE - {_KEPT_DAYS}", [now])
    con.execute(
        "INSERT INTO staging.invalid_days SELECT $2::TIMESTAMPTZ::DATE, $1, code, rule, severity, count(DISTINCT rid)"
        " FROM violation GROUP BY ALL",
        [entity, now],
    )


def _note(
    con: duckdb.DuckDBPyConnection,
    entity: LmsEntity,
    severity: RuleSeverity,
    table: str,
    texts: Sequence[str],
    now: datetime,
) -> None:
    moved = f"WHEN {literal(TRANSITION.code)} THEN concat(c.{STATE_BEFORE}, ' → ', {{}})"
    values = " ".join(f"WHEN {literal(column)} THEN r.{quoted(column)}" for column in texts)
    value = f'CASE v."column" {values} END'
    row = ", ".join(f"{literal(column)}: r.{quoted(column)}" for column in texts if column != "extra")
    # A row without an id is known by all that it holds.
    known_by = 'coalesce({0}.source_id, {0}."row"::VARCHAR)'
    con.execute(
        'CREATE OR REPLACE TEMP TABLE refused AS WITH found AS (SELECT c.source_id, v.code, v.rule, v."column",'
        f' CASE v.code {moved.format(value)} ELSE {value} END AS "value", r.observed_at, to_json({{{row}}}) AS "row",'
        f" c.{STATE_BEFORE} AS state_before FROM (SELECT * FROM violation WHERE severity = $severity) v JOIN read r USING (rid) JOIN candidate c USING (rid)),"
        f' known AS (SELECT {known_by.format("q")} AS key, code, rule, "column", min(first_seen_at) AS first_seen_at,'
        f" max(attempts) AS attempts, max(observed_at) AS observed_before FROM {table} q WHERE entity = $entity GROUP BY ALL)"
        " SELECT f.*, k.first_seen_at, k.attempts, k.observed_before FROM found f LEFT JOIN known k"
        f' ON k.key = {known_by.format("f")} AND k.code = f.code AND k.rule = f.rule AND k."column" = f."column"',
        {"severity": severity, "entity": entity},
    )
    con.execute(f"DELETE FROM {table} WHERE entity = $1", [entity])
    con.execute(
        f'INSERT INTO {table} BY NAME SELECT $entity AS entity, source_id, code, rule, "column", "value",'
        " coalesce(first_seen_at, $now::TIMESTAMPTZ) AS first_seen_at, $now::TIMESTAMPTZ AS last_seen_at,"
        " coalesce(attempts, 0) + (attempts IS NULL OR observed_before IS NULL OR observed_at > observed_before)::INTEGER AS attempts,"
        ' observed_at, "row", state_before FROM refused',
        {"entity": entity, "now": now},
    )
    con.execute("DROP TABLE refused")
