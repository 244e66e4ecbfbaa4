"""DuckDB's extensions, from where this machine has them: nothing is fetched while a run is under way."""

from importlib.util import find_spec
from pathlib import Path

import duckdb

from lms_crm_assets.errors import FatalError
from lms_crm_assets.warehouse.sql import literal


def load(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension from its package, `duckdb-extension-<name>`, or from DuckDB's own folder.

    `FatalError` where neither has it for this version of DuckDB.
    """
    file = packaged(name)
    try:
        con.execute(f"LOAD {literal(str(file)) if file else name}")
    except (duckdb.IOException, duckdb.HTTPException) as exc:
        raise FatalError(
            f"DuckDB {duckdb.__version__} has no extension {name} on this machine: install the package"
            f" duckdb-extension-{name.replace('_', '-')} of this version, or run INSTALL {name} in this DuckDB where there"
            " is a network (docs/warehouse.md)"
        ) from exc


def packaged(name: str) -> Path | None:
    """The extension in its package; None where that is not installed, or is of another version of DuckDB."""
    found = find_spec(f"duckdb_extension_{name}")
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    return file if file.is_file() else None
