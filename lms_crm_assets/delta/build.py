"""The delta of one object: every record and field that differs between what we want and what the CRM holds.

Owns the tables `delta.<object>`: `external_id, crm_id, action, class, changes, parents, parents_before`. `changes`
lists the fields with old and new value, owner, class and whether they are to be written; `parents` maps parent object →
external id of the links to make, `parents_before` the CRM ids that are linked now.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from math import ceil

import duckdb
import orjson
import structlog

from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.delta.compare import (
    ALLOWED,
    UNREADABLE,
    desired_side,
    differences,
    differing,
    differing_rows,
    gone,
    live_side,
    written_side,
)
from lms_crm_assets.delta.desired import refresh_desired
from lms_crm_assets.delta.destination import refusals, refuse, strictness
from lms_crm_assets.delta.restored import catch_up
from lms_crm_assets.domain import Action, CrmObject, Owner
from lms_crm_assets.snapshot.capture import ensure_snapshot
from lms_crm_assets.warehouse.connection import transaction
from lms_crm_assets.warehouse.sql import literal, scalar, table_exists

_log = structlog.get_logger(__name__)

_PART_ROWS = 1_000_000


@dataclass(frozen=True)
class DeltaCounts:
    """Records by what the plan does with them.

    `skipped`: the object's mode doesn't allow the action. `gone`: written by us, in the CRM, no longer in the LMS.
    `overwrite`: updates that replace something the CRM holds, as against filling what is empty. `drift`, `conflict`:
    records among the updates by class. `observed`: records whose observed fields differ. `unreadable`: records with a
    value that is none of its field's type and is not written. `live`: records in the CRM with our match key.
    `refused`: records that are not sent since the CRM would refuse them, whatever a run is about.
    """

    create: int
    update: int
    overwrite: int
    archive: int
    unchanged: int
    skipped: int
    gone: int
    drift: int
    conflict: int
    observed: int
    unreadable: int
    live: int
    refused: int = 0


def build_delta(
    con: duckdb.DuckDBPyConnection,
    spec: ObjectSpec,
    make_scope: Callable[[], None] | None = None,
    *,
    schema: CrmSchema | None = None,
    checks: ChecksPolicy | None = None,
    unsent: Collection[CrmObject] = frozenset(),
    now: datetime | None = None,
) -> DeltaCounts:
    """Make `delta.<object>` anew from staging, the CRM snapshot and the ledger.

    What the CRM would refuse by its `schema`, as far as that is known, is left out; `checks` says how strictly.
    `unsent`: objects of which nothing is sent (see `destination.refuse`). `make_scope` makes the temp table `scope` of the only records that count (see `scope`); what else differs is left out.
    """
    allowed = ", ".join(literal(action) for action in (*sorted(ALLOWED[spec.mode]), Action.UNCHANGED))
    with transaction(con):
        ensure_snapshot(con, spec)
        catch_up(con, spec)
        refresh_desired(con, spec)
        _find_different(con, spec)
        refuse(con, spec, schema, now or datetime.now(UTC), strictness(checks or ChecksPolicy()), unsent)
        if make_scope is not None:
            make_scope()
            for table in ("different", "gone"):
                con.execute(f"DELETE FROM {table} WHERE external_id NOT IN (FROM scope)")
            con.execute("DROP TABLE scope")
        con.execute(f"CREATE OR REPLACE TABLE delta.{spec.object} AS FROM different WHERE action IN ({allowed})")
        if Action.ARCHIVE in ALLOWED[spec.mode]:
            con.execute(
                f"INSERT INTO delta.{spec.object} SELECT external_id, crm_id, '{Action.ARCHIVE}', 'ours', [], MAP {{}},"
                " MAP {} FROM gone"
            )
        counts = _counts(con, spec)
        con.execute("DELETE FROM delta.counts WHERE object = $1", [spec.object])
        con.execute("INSERT INTO delta.counts VALUES ($1, $2)", [spec.object, orjson.dumps(asdict(counts)).decode()])
        con.execute("DROP TABLE different; DROP TABLE gone; DROP TABLE IF EXISTS desired; DROP TABLE IF EXISTS live")
    _log.info("delta_built", **asdict(counts))
    return counts


def leave_delta(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> None:
    """Forget the delta of a former run: of an object that this one leaves alone nothing old may get into its plan.

    The switch may be cleared before the plan is made.
    """
    if table_exists(con, "delta", obj):
        con.execute(f"DELETE FROM delta.{obj}")
        nothing = dict.fromkeys((each.name for each in fields(DeltaCounts)), 0)
        con.execute("UPDATE delta.counts SET counts = $1 WHERE object = $2", [orjson.dumps(nothing).decode(), obj])


def read_counts(con: duckdb.DuckDBPyConnection, obj: CrmObject) -> DeltaCounts:
    """The counts of the delta as it was built last."""
    rows = con.execute("SELECT counts FROM delta.counts WHERE object = $1", [obj]).fetchall()
    return DeltaCounts(**orjson.loads(rows[0][0]))


def _find_different(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    """Make the temp tables `different` and `gone`, and of what differs `desired` and `live`."""
    find_differing(con, spec)
    queries = {
        "desired": desired_side(spec),
        "live": live_side(spec, f"rowid IN ({differing_rows('lr')})"),
        "written": written_side(spec),
        "different": differences(spec),
        "gone": gone(spec),
    }
    if not scalar(con, "SELECT count(*) FROM differing WHERE dr IS NOT NULL OR lr IS NOT NULL"):
        # To plan the queries alone takes a tenth of a second, which most runs can spare.
        queries = {
            "different": "SELECT * EXCLUDE (plan_id, object) FROM delta.plan_rows LIMIT 0",
            "gone": "SELECT '' AS external_id, '' AS crm_id LIMIT 0",
        }
    for table, query in queries.items():
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}")
    con.execute("DROP TABLE differing; DROP TABLE IF EXISTS written")


def find_differing(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    """Make the temp table `differing`, part by part: a join of ten million fingerprints takes 500 MiB by itself."""
    # A row of nulls: were there none in a column, `differing_rows` would have no filter, but for its name.
    con.execute("CREATE OR REPLACE TEMP TABLE differing AS SELECT NULL::BIGINT AS dr, NULL::BIGINT AS lr")
    tables = f"delta.desired_{spec.object}", f"crm_snapshot.{spec.object}"
    parts = max(1, *(ceil(scalar(con, f"SELECT count(*) FROM {table}") / _PART_ROWS) for table in tables))
    for part in range(parts):
        con.execute(f"INSERT INTO differing {differing(spec, part, parts)}")


def _counts(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> DeltaCounts:
    by_action: dict[str, int] = dict(con.execute("SELECT action, count(*) FROM different GROUP BY ALL").fetchall())
    allowed = ALLOWED[spec.mode]
    overwrite, drift, conflict, observed, unreadable, archive = con.execute(
        "SELECT count(*) FILTER (action = 'update' AND"
        " (len(list_filter(changes, lambda c: c.written AND c.old IS NOT NULL)) > 0"
        " OR len(list_filter(map_values(parents_before), lambda p: p IS NOT NULL)) > 0)),"
        " count(*) FILTER (class = 'drift' AND action = 'update'),"
        " count(*) FILTER (class = 'conflict' AND action = 'update'),"
        f" count(*) FILTER (len(list_filter(changes, lambda c: c.owner = '{Owner.OBSERVE}')) > 0),"
        f" count(*) FILTER (len(list_filter(changes, lambda c: c.class = '{UNREADABLE}')) > 0),"
        f" count(*) FILTER (action = 'archive') FROM delta.{spec.object}"
    ).fetchall()[0]
    wanted = scalar(con, f"SELECT count(*) FROM delta.desired_{spec.object}")
    create, update = by_action.get(Action.CREATE, 0), by_action.get(Action.UPDATE, 0)
    refused = refusals(con, spec.object).records
    return DeltaCounts(
        create=create if Action.CREATE in allowed else 0,
        update=update if Action.UPDATE in allowed else 0,
        overwrite=overwrite,
        archive=archive,
        unchanged=wanted - create - update - refused,
        skipped=(0 if Action.CREATE in allowed else create) + (0 if Action.UPDATE in allowed else update),
        gone=scalar(con, "SELECT count(*) FROM gone"),
        drift=drift,
        conflict=conflict,
        observed=observed,
        unreadable=unreadable,
        live=scalar(con, f"SELECT count(*) FROM crm_snapshot.{spec.object}"),
        refused=refused,
    )
