"""A tenant's state as DataFrames, for notebooks.

    from lms_crm_assets import inspect
    inspect.quarantine("acme").groupby(["layer", "code"]).size()

Everything is read from the published copy of the warehouse, so that no run waits for a notebook. What is given holds learner
data, unmasked. Each function takes `settings` where the environment (`LMS_CRM_STATE_DIR`, `LMS_CRM_TENANTS_DIR`) does not
say where things lie. Errors: `ContractError` for an unknown tenant, `FatalError` before its first run, `RetryableError`
while there is no copy and a run holds the file.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from datetime import datetime
from typing import Any

import duckdb
import orjson
import pandas as pd

from lms_crm_assets.audit import COLUMNS, Asked, trail
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.delta.plan import find_plan, plan_rows
from lms_crm_assets.explain import explain as explained
from lms_crm_assets.ops.audit import AuditLog
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.refusals import Layer, Refusal, Wanted, refusals
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.published import reading
from lms_crm_assets.warehouse.sql import table_exists

__all__ = ["audit", "explain", "ledger", "plan", "quarantine", "trend"]

_PLAN_COLUMNS = (
    "plan_id", "status", "created_at", "object", "external_id", "crm_id", "action", "class", "field", "old", "new",
    "owner", "written", "parents",
)  # fmt: skip
_STORY_COLUMNS = ("at", "object", "external_id", "what", "code", "text", "detail")
_TREND_COLUMNS = ("day", "entity", "code", "rule", "severity", "rows")


def quarantine(
    tenant: str, *, layer: str | None = None, warnings: bool = False, settings: Settings | None = None
) -> pd.DataFrame:
    """What is refused at present, one row a reason: by our checks, for the CRM's schema, and by the CRM.

    `layer` is one of schema, business, destination, delivery; with `warnings` also what was let through (severity `warn`).
    The columns are the fields of `refusals.Refusal`; `row` is a dict or None.
    """
    wanted = Wanted(Layer(layer) if layer else None, warnings=warnings)
    with _reading(tenant, settings) as (con, contract):
        found = map(astuple, refusals(con, contract, wanted))
        frame = _frame((field.name for field in fields(Refusal)), found, "first_seen_at", "last_seen_at")
    return frame.astype({"attempts": "Int64"})


def plan(tenant: str, plan_id: str | None = None, *, settings: Settings | None = None) -> pd.DataFrame:
    """A stored plan, the newest one unless `plan_id` names another: one row a field that changes.

    A record of which no field changes, as one that is archived or linked anew, has one row without a field.
    """
    with _reading(tenant, settings) as (con, _):
        if plan_id is None:
            newest = con.execute("SELECT plan_id FROM delta.plans ORDER BY created_at DESC, plan_id DESC LIMIT 1")
            rows = newest.fetchall()
            if not rows:
                return _frame(_PLAN_COLUMNS, [], "created_at")
            plan_id = str(rows[0][0])
        stored = find_plan(con, plan_id)
        told = (
            (
                plan_id, stored.status, stored.created_at, row["object"], row["external_id"], row["crm_id"],
                row["action"], row["class"] if not change else change["class"],
                *(change.get(name) for name in ("field", "old", "new", "owner", "written")), row["parents"],
            )
            for row in plan_rows(con, plan_id)
            for change in row["changes"] or [{}]
        )  # fmt: skip
        return _frame(_PLAN_COLUMNS, told, "created_at")


def audit(tenant: str, *, since: datetime | None = None, settings: Settings | None = None) -> pd.DataFrame:
    """Who or what changed which field of which CRM record, the oldest first; the columns are those of `audit.AuditRow`."""
    settings = settings or Settings.from_environ()
    deeds = AuditLog(OperationalStore.at(settings.state_dir)).deeds(tenant, since.timestamp() if since else 0.0)
    with _reading(tenant, settings) as (con, _):
        return _frame(COLUMNS, trail(con, deeds, Asked(since=since)), "at")


def ledger(tenant: str, *, settings: Settings | None = None) -> pd.DataFrame:
    """What was last written to the CRM, one row a record; `applied` is a dict of CRM field → value in normal form."""
    names = ("object", "external_id", "crm_id", "applied", "sync_run_id", "synced_at")
    with _reading(tenant, settings) as (con, _):
        rows = con.execute(f"SELECT {', '.join(names)} FROM sync.ledger ORDER BY object, len(external_id), external_id")
        told = ((*row[:3], orjson.loads(row[3] or "{}"), *row[4:]) for row in rows.fetchall())
        return _frame(names, told, "synced_at")


def explain(tenant: str, learner: str, *, at: datetime | None = None, settings: Settings | None = None) -> pd.DataFrame:
    """One learner's story, one row an event, the oldest first.

    `learner` is the LMS's id, an e-mail or a user name; with `at` everything is told as it was known then. `what` is one
    of: seen (by the LMS), refused (by our checks), planned, sent, applied (in the CRM since); `detail` is a dict.
    """
    with _reading(tenant, settings) as (con, contract):
        story = explained(con, contract, learner, at=at)
    events = list(_events("", story["learner"], {"raw": story["raw"]}))
    for record in story["records"]:
        events += _events(record["object"], record["external_id"], record)
    return _frame(_STORY_COLUMNS, events, "at").sort_values("at", kind="stable", ignore_index=True)


def trend(tenant: str, *, settings: Settings | None = None) -> pd.DataFrame:
    """How many rows broke each rule at the end of each day (UTC), of the days on which rows were checked."""
    with _reading(tenant, settings) as (con, _):
        if not table_exists(con, "staging", "invalid_days"):
            return _frame(_TREND_COLUMNS, [], "day")
        names = ", ".join(f'"{name}"' for name in _TREND_COLUMNS)
        rows = con.execute(f"SELECT {names} FROM staging.invalid_days ORDER BY ALL").fetchall()
        return _frame(_TREND_COLUMNS, rows, "day")


@contextmanager
def _reading(tenant: str, settings: Settings | None) -> Iterator[tuple[duckdb.DuckDBPyConnection, Contract]]:
    settings = settings or Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    with reading(settings, tenant) as con:
        yield con, contract


def _frame(names: Iterable[str], rows: Iterable[tuple[Any, ...]], *moments: str) -> pd.DataFrame:
    """The rows with the types that the columns have when there are none, too."""
    frame = pd.DataFrame.from_records(list(rows), columns=list(names))
    for name in moments:
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def _events(obj: str, external_id: str, record: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The parts of a record's story as rows of `_STORY_COLUMNS`."""
    if raw := record.get("raw"):
        yield (
            raw["observed_at"],
            obj,
            external_id,
            "seen",
            None,
            "deleted" if raw["is_deleted"] else None,
            raw["payload"],
        )
    for each in record.get("refused", ()):
        yield each["first_seen_at"], obj, external_id, "refused", each["code"], each["rule"], each
    for each in record.get("planned", ()):
        yield each["at"], obj, external_id, "planned", None, each["action"], each
    for each in record.get("sent", ()):
        yield each["at"], obj, external_id, "sent", each["code"], f"{each['operation']} {each['status']}", each
    for each in record.get("applied", ()):
        yield each["at"], obj, external_id, "applied", None, each["crm_id"], each["values"]
