"""One run of a tenant without Dagster, in a process that may be killed: `python -m tests.chaos.one_run STATE TENANT`.

The steps are those of the job `full_reconcile` from the CRM's snapshot on, by the same functions. It prints a JSON line
of what it did, and what its memory came to.
"""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import orjson

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.delta.build import build_delta
from lms_crm_assets.delta.forecast import Forecast
from lms_crm_assets.delta.plan import plan_to_send, record_plan
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from lms_crm_assets.snapshot.capture import land_records, load_snapshot
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.sync.jobs import settle_left
from lms_crm_assets.sync.journal import recover
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate


def run(settings: Settings, tenant: str) -> dict[str, object]:
    """Capture, compare, plan, deliver; the counts by object."""
    contract = load_contract(settings.tenants_dir, tenant)
    specs = [object_spec(contract, obj) for obj in contract.in_order()]
    folder, run_id = settings.state_dir / "sync" / tenant, f"{datetime.now(UTC):%H%M%S%f}"
    warehouse = locate(settings, tenant)
    crm = crm_adapter(contract, OperationalStore.at(settings.state_dir))

    @contextmanager
    def open_warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
        with connect(warehouse) as con:
            yield con

    counts: dict[str, object] = {}
    try:
        for spec in specs:
            file, read_at = settings.state_dir / "landing" / f"{tenant}.{spec.object}", datetime.now(UTC)
            settle_left(crm.bulk, spec.object, folder)
            land_records(crm.snapshot(spec), file)
            with open_warehouse() as con:
                load_snapshot(con, spec, file, read_at)
        with open_warehouse() as con:
            for spec in specs:
                recover(con, spec, folder)
                build_delta(con, spec)
            record_plan(
                con,
                specs,
                forecast=Forecast(0, 0, 0.0, None),
                breaches=[],
                auto_apply=True,
                sync_run_id=run_id,
                now=datetime.now(UTC),
            )
            plan = plan_to_send(con, run_id)
        assert plan is not None
        counts["peak_mib_before_sending"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("sending", flush=True)
        for spec in specs:
            most = contract.delivery.max_attempts
            done = Delivery(crm, spec, plan.plan_id, open_warehouse, folder, run_id, most).run()
            counts[spec.object.value] = vars(done)
    finally:
        crm.close()
    before = counts.pop("peak_mib_before_sending")
    return {"peak_mib_before_sending": before, "counts": counts, "traffic": dict(crm.traffic)}


def main() -> None:
    """Run, and say what happened."""
    state, tenant = sys.argv[1:]
    settings = Settings.from_environ({"LMS_CRM_STATE_DIR": state, "LMS_CRM_TENANTS_DIR": str(Path(state) / "tenants")})
    try:
        done = run(settings, tenant)
    except LmsCrmError as exc:
        done = {"error": f"{type(exc).__name__}: {exc}"}
    done["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(orjson.dumps(done).decode(), flush=True)


if __name__ == "__main__":
    main()
