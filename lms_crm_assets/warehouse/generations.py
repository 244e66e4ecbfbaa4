"""Writing a lake anew, beside the present one, and putting it in that one's place: nothing of the old one is left.

A lake keeps what was deleted: in older snapshots, in Parquet files that hold it beside other rows, and as the least and
greatest values that its catalog notes of each column. Of a new one all three are new. A schema in Postgres takes another's
name in one transaction; a process that is killed before that leaves a half made one, which the next removes.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
from psycopg import sql

from lms_crm_assets.warehouse.connection import SETTINGS
from lms_crm_assets.warehouse.lake import Lake, Session
from lms_crm_assets.warehouse.sql import literal

_FRESH = "fresh"
_LONGEST_STEM = 59


def rewrite_lake(lake: Lake) -> None:
    """Copy all tables into a lake of their own, which takes the old one's place; the caller holds it."""

    def fill(con: duckdb.DuckDBPyConnection) -> None:
        lake.attach(con, read_only=True)
        con.execute(f"COPY FROM DATABASE {lake.catalog} TO {_FRESH}")

    _replace(lake, fill)


def fill_lake(lake: Lake, file: Path) -> None:
    """Have a lake hold what a DuckDB file does, and nothing else; the caller holds it."""

    def fill(con: duckdb.DuckDBPyConnection) -> None:
        con.execute(f"ATTACH {literal(str(file))} AS filed (READ_ONLY)")
        con.execute(f"COPY FROM DATABASE filed TO {_FRESH}")

    _replace(lake, fill)


def drop_lake(lake: Lake) -> None:
    """Take a lake away, with its files; the caller holds it."""
    with lake.session() as session:
        session.execute(_drop(lake.schema))
    shutil.rmtree(lake.files, ignore_errors=True)


def _replace(lake: Lake, fill: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
    fresh = f"{lake.schema[:_LONGEST_STEM]}~new"
    with lake.session() as session:
        session.execute(_drop(fresh))
    with duckdb.connect(config={**SETTINGS, "temp_directory": str(lake.scratch)}) as con:
        con.execute("SET TimeZone = 'UTC'")
        lake.attach_as(con, _FRESH, fresh)
        fill(con)
    with lake.session() as session:
        kept = _folder(session, fresh)
        with session.transaction():
            session.execute(_drop(lake.schema))
            rename = sql.SQL("ALTER SCHEMA {} RENAME TO {}")
            session.execute(rename.format(sql.Identifier(fresh), sql.Identifier(lake.schema)))
    for folder in lake.files.iterdir():
        if folder != kept:
            shutil.rmtree(folder, ignore_errors=True)


def _folder(session: Session, schema: str) -> Path:
    """Where the Parquet files of a schema lie."""
    query = sql.SQL("SELECT value FROM {} WHERE key = 'data_path'").format(sql.Identifier(schema, "ducklake_metadata"))
    (found,) = session.execute(query).fetchall()
    return Path(found[0])


def _drop(schema: str) -> sql.Composed:
    return sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema))
