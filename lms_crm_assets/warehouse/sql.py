"""The one place that quotes names and values into SQL; everything else uses parameters."""

from functools import cache
from importlib.resources import files

import duckdb


def quoted(name: str) -> str:
    """An identifier, safe whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text literal, safe whatever it holds."""
    return "'" + text.replace("'", "''") + "'"


@cache
def sql_file(package: str, name: str) -> str:
    """The text of `name` beside the modules of `package`."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def scalar(con: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> int:
    """The one number that a query gives."""
    return int(con.execute(query, parameters).fetchall()[0][0])


def table_exists(con: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    """Whether a table stands there."""
    # Of a DuckLake the list of tables counts each one's rows, which takes ten times as long. To look and see would end the
    # transaction in DuckDB 2.0.
    query = (
        "SELECT count(*) > 0 FROM duckdb_columns() WHERE database_name IN (current_database(), 'temp')"
        " AND schema_name = $1 AND table_name = $2"
    )
    return scalar(con, query, [schema, table]) == 1


def stores_zstd(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether the warehouse is a file of a version that can hold columns packed with zstd; others leave them unpacked."""
    found = con.execute(
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchall()
    return bool(found) and found[0][0] is not None and not str(found[0][0]).startswith(("v0.", "v1.0.", "v1.1."))
