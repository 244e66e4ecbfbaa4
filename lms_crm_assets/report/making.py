"""Making a run's page: its facts, the trend and the records put together, and where the file lies."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.report.facts import RunFacts
from lms_crm_assets.report.history import trend
from lms_crm_assets.report.page import page
from lms_crm_assets.report.records import refused_records

FOLDER = "reports"
"""In the state folder, with a folder a tenant in it."""


def report_file(state_dir: Path, tenant: str, run_id: str) -> Path:
    """Where the page of a run lies."""
    return state_dir / FOLDER / tenant / f"{run_id}.html"


def make_page(
    facts: RunFacts,
    contract: Contract,
    store: OperationalStore,
    open_warehouse: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> str:
    """The page of a run. The warehouse is opened where something was refused."""
    records = []
    if facts.refused:
        with open_warehouse() as con:
            records = refused_records(con, contract, facts)
    points = trend(store, facts.tenant, facts.ended_at)
    return page(facts, points, records, contract.checks, now=datetime.now(UTC))


def write_page(file: Path, text: str) -> None:
    """Write a page for nobody else to read, in one step: somebody may be looking at the one before."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    half = file.with_name(f"{file.name}.half")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as lines:
        lines.write(text)
    half.replace(file)
