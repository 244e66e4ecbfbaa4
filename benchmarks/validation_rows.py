"""Learners as staging gives them to the checks, one in a hundred of them bad, and every rule broken by some."""

from pathlib import Path

from lms_crm_assets.checks.row_rules import STATE_BEFORE
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.staging.tables import COLUMNS
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import quoted

SEED = 20_261_127
_BAD_IN = 100

_LONG = "repeat('ab', 150)"
_BROKEN = "'Zo' || chr(65533) || 'e'"

_GOOD = {
    "source_id": "(1000000 + i)::VARCHAR",
    "external_id": "'EXT-' || i",
    "username": "'user' || i",
    "email": "'first.last' || i || '@school' || h % 50 || '.example.org'",
    "given_name": "['Ada', 'Zoë', 'José', 'Lin', 'Anne-Marie'][h % 5 + 1]",
    "family_name": "'Müller-' || h % 100000",
    "organization": "CASE WHEN h % 4 > 0 THEN 'School ' || h % 900 END",
    "country": "['DE', 'FR', 'US', 'BR'][h % 4 + 1]",
    "status": "if(h % 10 > 0, 'active', 'suspended')",
    "source_updated_at": "TIMESTAMPTZ '2024-01-01 00:00:00Z' + to_seconds(h % 60000000)",
}
# Each bad row has one of these in place of its good values.
_BAD: list[dict[str, str]] = [
    *({column: "NULL"} for column in ("source_id", "email", "family_name", "status")),
    *({"email": f"{text} || i"} for text in ("'no address '", "'two@at@example.org'", "'@example.org'")),
    {"email": "'a.b@localhost'"},
    {"status": "'retired'"},
    {"username": "'user' || i || '@example.org.1700000000'", "email": "md5(i::VARCHAR)", "status": "'deleted'"},
    *({column: _BROKEN} for column in ("username", "given_name", "family_name")),
    {"email": f"{_BROKEN} || i || '@example.org'"},
    *({column: _LONG} for column in ("given_name", "family_name")),
    {"given_name": "'=HYPERLINK(\"//example.org\")'"},
    {"family_name": "'+cmd|''/c calc''!A1'"},
    {"organization": "'@SUM(1+1)'"},
    *({"source_id": f"{text} || i"} for text in (_LONG, "'key' || chr(7)")),
    *({column: "'Anna' || chr(8238) || 'annA'"} for column in ("given_name", "family_name", "organization")),
    # The same key and the same address as the row before, in other letters where that can be.
    {"source_id": "(1000000 + i - 1)::VARCHAR"},
    {"email": "upper('first.last' || i - 1 || '@school' || before % 50 || '.example.org')"},
    {"source_updated_at": "NULL", "unreadable": "['source_updated_at']"},
]


def write_learners(file: Path, rows: int) -> None:
    """Write `rows` learners into the table `learners` of a warehouse, in the shape of the temp table `candidate`."""
    good = {**_GOOD, "extra": "NULL::JSON", "observed_at": "TIMESTAMPTZ '2026-11-01 00:00:00Z'"}
    good["unreadable"] = "[]::VARCHAR[]"
    names = ("source_id", *COLUMNS[LmsEntity.LEARNERS], "source_updated_at", "observed_at", "unreadable", STATE_BEFORE)
    columns = ", ".join(f"{_value(name, good.get(name, 'NULL::VARCHAR'))} AS {quoted(name)}" for name in names)
    with connect(file) as con:
        con.execute(
            f"CREATE TABLE learners AS SELECT i + 1 AS rid, {columns} FROM (SELECT i, (hash(i + {SEED}) >> 1)::BIGINT AS h,"
            f" (hash(i - 1 + {SEED}) >> 1)::BIGINT AS before, CASE WHEN hash(i, {SEED}) % {_BAD_IN} = 0"
            f" THEN hash({SEED}, i) % {len(_BAD)} END AS bad FROM range({rows}) t(i))"
        )
        con.execute("CHECKPOINT")


def _value(name: str, good: str) -> str:
    bad = " ".join(f"WHEN {number} THEN {values[name]}" for number, values in enumerate(_BAD) if name in values)
    return f"CASE bad {bad} ELSE {good} END" if bad else good
