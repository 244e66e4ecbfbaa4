"""From raw payloads to one canonical table: read, type, check, split into valid rows and quarantine.

Owns the tables `staging.<table>`; what is refused goes to `refused`.
"""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass
from datetime import datetime

import duckdb
import structlog

from lms_crm_assets.checks.row_rules import ENROLLED_AT, STATE_BEFORE
from lms_crm_assets.checks.rules import Rules
from lms_crm_assets.checks.violations import find_row_violations, find_violations
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.landing import ensure_raw_table
from lms_crm_assets.ops.suppression import NAME, NOBODY, Marks
from lms_crm_assets.staging.attributes import CUT, extra_function, passes_payload_on
from lms_crm_assets.staging.feed import note_changes
from lms_crm_assets.staging.refused import note_refused
from lms_crm_assets.staging.tables import COLUMNS
from lms_crm_assets.warehouse.connection import SETTINGS, transaction
from lms_crm_assets.warehouse.sql import literal, quoted, scalar, sql_file, table_exists

# What CRMs trim too: tab, line feed, carriage return, space, no-break space.
_log = structlog.get_logger(__name__)

_BLANKS = "chr(9) || chr(10) || chr(13) || ' ' || chr(160)"

# 'Z' or '+01', '+01:00', '+0100' behind a time of day: without it nobody knows which moment is meant.
_OFFSET = r":\d{2}(\.\d+)?(Z|[+-]\d{2}(:?\d{2})?)$"

# Whose way from one state to the next is looked at.
_STATES = {LmsEntity.ENROLLMENTS: "status", LmsEntity.COMPLETIONS: "state"}


# As Moodle's macros write a learner whose account isn't known.
_BY_USERNAME = "username="


@dataclass(frozen=True)
class StagingCounts:
    """How many rows the LMS gave, and how many of them are valid; the others are in quarantine.

    `warned`: rows that passed with a warning. `cut_extra`: rows whose largest unknown attributes were left out.
    """

    in_lms: int
    valid: int
    warned: int = 0
    cut_extra: int = 0

    @property
    def invalid(self) -> int:
        """Refused rows."""
        return self.in_lms - self.valid

    @property
    def invalid_share(self) -> float:
        """Refused rows as a share of all, 0 for an empty table."""
        return self.invalid / self.in_lms if self.in_lms else 0.0


def is_staged(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> bool:
    """Whether the entity's table was ever made."""
    return table_exists(con, "staging", entity.staging_table)


def standing_counts(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> StagingCounts | None:
    """The counts of the table as it was made last; None where it was not, or before counts were kept."""
    rows = con.execute(
        "SELECT in_lms, valid, warned, cut_extra FROM staging.builds WHERE entity = $1", [entity]
    ).fetchall()
    return StagingCounts(*rows[0]) if rows and is_staged(con, entity) else None


def build_staging(
    con: duckdb.DuckDBPyConnection,
    rules: Rules,
    *,
    adapter: str,
    timezone: str,
    now: datetime,
    keep_unknown: bool = False,
    marks: Marks = NOBODY,
) -> StagingCounts:
    """Make the table of the rules' entity anew from raw_lms, and bring its quarantine up to date.

    `timezone` is what the adapter's local times are read in. With `keep_unknown` the attributes without a canonical
    column are kept in `extra`, which is null otherwise. Rows of the forgotten learners whom `marks` tell are not there, nor
    counted.
    """
    entity = rules.entity
    table = f"staging.{entity.staging_table}"
    kept = keep_unknown and passes_payload_on(adapter, entity)
    with extra_function(con, adapter, entity) if kept else nullcontext(), transaction(con):
        texts = _read(con, entity, adapter, timezone, "extra_of(payload)" if kept else "NULL::VARCHAR")
        if marks:
            _leave_out(con, entity, texts, marks)
        _type(con, entity, texts)
        find_violations(con, entity, rules)
        names = ", ".join(quoted(column) for column in COLUMNS[entity])
        con.execute(
            f"CREATE OR REPLACE TABLE {table} AS"
            f" SELECT source_id, {names}, source_updated_at, observed_at, hash(source_id, {names}) AS row_hash"
            " FROM candidate ANTI JOIN (SELECT rid FROM violation WHERE severity = 'error') USING (rid)"
        )
        note_refused(con, entity, texts, now)
        note_changes(con, entity, now)
        counts = StagingCounts(
            scalar(con, "SELECT count(*) FROM candidate"),
            scalar(con, f"SELECT count(*) FROM {table}"),
            scalar(con, "SELECT count(DISTINCT rid) FROM violation WHERE severity = 'warn'"),
            scalar(con, "SELECT count(*) FILTER (extra_is_cut) FROM read") if kept else 0,
        )
        con.execute("DELETE FROM staging.builds WHERE entity = $1", [entity])
        con.execute("INSERT INTO staging.builds VALUES ($1, $2, $3, $4, $5)", [entity, *astuple(counts)])
        con.execute("DROP TABLE candidate; DROP TABLE violation; DROP TABLE read")
    _log.info("staged", in_lms=counts.in_lms, valid=counts.valid, warned=counts.warned)
    return counts


class RowJudge:
    """Judges rows by themselves, before they are anywhere, by the very rules that a build applies to them.

    What takes other rows is left to the build. Threads take turns.
    """

    def __init__(self, adapter: str, timezone: str) -> None:
        self._adapter = adapter
        self._timezone = timezone
        self._turn = threading.Lock()
        # One thread, in order: a row's number is its place.
        self._con = duckdb.connect(config={**SETTINGS, "threads": "1", "preserve_insertion_order": "true"})
        self._con.execute("SET TimeZone = 'UTC'")
        self._con.execute(sql_file("lms_crm_assets.warehouse", "schema.sql"))
        for entity in LmsEntity:
            ensure_raw_table(self._con, entity)
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in COLUMNS[LmsEntity.ENROLLMENTS].items())
        self._con.execute(f"CREATE TABLE staging.enrollment (source_id VARCHAR, {columns})")

    def judge(self, rules: Rules, payloads: Sequence[str]) -> dict[int, list[tuple[str, str]]]:
        """Code and column of each violation for which a row would be refused, by the place of the payload."""
        entity = rules.entity
        with self._turn, transaction(self._con):
            self._con.execute(f"DELETE FROM raw_lms.{entity}")
            self._con.execute(
                f"INSERT INTO raw_lms.{entity} SELECT NULL, payload, false, now()"
                " FROM (SELECT unnest($1::VARCHAR[]) AS payload)",
                [list(payloads)],
            )
            _type(self._con, entity, _read(self._con, entity, self._adapter, self._timezone, "NULL::VARCHAR"))
            find_row_violations(self._con, rules)
            rows = self._con.execute(
                "SELECT DISTINCT rid, code, \"column\" FROM violation WHERE severity = 'error' ORDER BY ALL"
            ).fetchall()
        found: dict[int, list[tuple[str, str]]] = {}
        for rid, code, column in rows:
            found.setdefault(rid - 1, []).append((code, column))
        return found


def _read(con: duckdb.DuckDBPyConnection, entity: LmsEntity, adapter: str, timezone: str, extra: str) -> list[str]:
    """Make the temp table `read`: the payload's values as texts, numbered by `rid`. Gives the columns it has.

    `extra` is SQL over the payload.
    """
    ensure_raw_table(con, entity)
    con.execute(sql_file(f"lms_crm_assets.staging.{adapter}", "macros.sql"))
    query = sql_file(f"lms_crm_assets.staging.{adapter}", f"{entity.staging_table}.sql")
    parameters = {"timezone": timezone} if "$timezone" in query else None
    if passes_payload_on(adapter, entity):
        cut = f"starts_with(made, {literal(CUT)})"
        query = (
            f"SELECT * EXCLUDE (made), CASE WHEN {cut} THEN NULLIF(made[2:], '') ELSE made END AS extra, {cut} AS extra_is_cut"
            f" FROM (SELECT * EXCLUDE (payload), {extra} AS made FROM ({query}))"
        )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE read AS SELECT row_number() OVER () AS rid, * FROM ({query})", parameters
    )
    columns = {str(row[0]) for row in con.execute("DESCRIBE read").fetchall()}
    return [column for column in ("source_id", *COLUMNS[entity], "source_updated_at") if column in columns]


def _leave_out(con: duckdb.DuckDBPyConnection, entity: LmsEntity, texts: Sequence[str], marks: Marks) -> None:
    """Take the rows of forgotten learners out of `read`: those whose raw rows came before they were, or say it oddly."""
    column = "source_id" if entity is LmsEntity.LEARNERS else "learner_id"
    if column not in texts:
        return
    rows = con.execute(f"SELECT DISTINCT {column} FROM read WHERE {column} IS NOT NULL").fetchall()
    theirs = [
        key
        for (key,) in rows
        if marks.hold(LmsEntity.LEARNERS, key)
        or (key.startswith(_BY_USERNAME) and marks.hold(NAME, key.removeprefix(_BY_USERNAME)))
    ]
    con.execute(f"DELETE FROM read WHERE {column} IN (SELECT unnest($1::VARCHAR[]))", [theirs])


def _type(con: duckdb.DuckDBPyConnection, entity: LmsEntity, texts: list[str]) -> None:
    """Make the temp table `candidate`: every canonical column with its type, and in `unreadable` those that failed."""
    types = {"source_id": "VARCHAR", **COLUMNS[entity], "source_updated_at": "TIMESTAMPTZ"}
    clean = {
        column: f"NULLIF(trim({quoted(column)}, {_BLANKS}), '')" if column in texts else "NULL" for column in types
    }
    cast = {column: _cast(clean[column], kind) for column, kind in types.items()}
    typed = ", ".join(f"{cast[column]} AS {quoted(column)}" for column in types)
    failed = ", ".join(
        f"CASE WHEN {clean[c]} IS NOT NULL AND {cast[c]} IS NULL THEN {literal(c)} END"
        for c in texts
        if types[c] != "VARCHAR"
    )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE candidate AS WITH typed AS ("
        f"SELECT rid, {typed}, observed_at, list_filter([{failed}]::VARCHAR[], lambda c: c IS NOT NULL) AS unreadable"
        f" FROM read) {_checked_against(con, entity)}"
    )


def _checked_against(con: duckdb.DuckDBPyConnection, entity: LmsEntity) -> str:
    """SQL of the typed rows with what they are checked against; it is part of the check, not of the table."""
    columns, joins = "typed.*", ""
    if entity is LmsEntity.COMPLETIONS:
        columns += f", e.{ENROLLED_AT}"
        joins += (
            f" LEFT JOIN (SELECT learner_id, course_id, min(least(enrolled_at, starts_at)) AS {ENROLLED_AT}"
            " FROM staging.enrollment GROUP BY ALL) e USING (learner_id, course_id)"
        )
    if (state := _STATES.get(entity)) is None:
        return f"SELECT {columns}, NULL::VARCHAR AS {STATE_BEFORE} FROM typed{joins}"
    # A refused row keeps the state that was valid last; one that was warned of its way does until the LMS gives it again.
    kept = ["q.state_before", "w.state_before"]
    joins += "".join(
        f" LEFT JOIN (SELECT source_id, min(state_before) AS state_before{moment} FROM staging.{table}"
        f" WHERE entity = {literal(entity)} AND state_before IS NOT NULL GROUP BY ALL) {alias} USING (source_id{moment})"
        for alias, table, moment in (("q", "quarantine", ""), ("w", "warnings", ", observed_at"))
    )
    if is_staged(con, entity):
        kept.append(f"b.{state}")
        joins += f" LEFT JOIN staging.{entity.staging_table} b USING (source_id)"
    return f"SELECT {columns}, coalesce({', '.join(kept)}) AS {STATE_BEFORE} FROM typed{joins}"


def _cast(text: str, kind: str) -> str:
    """SQL of a text as a value of its type, null where it can't be read. A moment without its offset is none."""
    if kind == "TIMESTAMPTZ":
        return f"CASE WHEN regexp_matches({text}, '{_OFFSET}') THEN TRY_CAST({text} AS {kind}) END"
    return f"TRY_CAST({text} AS {kind})"
