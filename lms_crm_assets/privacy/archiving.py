"""Archiving a learner's records in the CRM before they are forgotten: a plan like any other, within the guardrails."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.delta.build import DeltaCounts
from lms_crm_assets.delta.forecast import Pace, Quota, forecast
from lms_crm_assets.delta.guardrails import breaches
from lms_crm_assets.delta.plan import Plan, record_plan
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import FatalError, RetryableError, SwitchedOffError
from lms_crm_assets.ops.audit import person as actor
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.switches import SwitchBoard
from lms_crm_assets.privacy.person import Person
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.sync.runs import SyncRun, note_run
from lms_crm_assets.warehouse.connection import connect, transaction
from lms_crm_assets.warehouse.location import Location
from lms_crm_assets.warehouse.sql import literal, scalar, table_exists

_NOTHING = DeltaCounts(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def to_archive(con: duckdb.DuckDBPyConnection, contract: Contract, person: Person) -> dict[CrmObject, int]:
    """How many of the learner's records of each object we wrote and would archive, children first."""
    counts = {
        obj: scalar(con, f"SELECT count(*) FROM sync.ledger WHERE {_ours(obj, person)}")
        for obj in reversed(contract.in_order())
        if person.keys.get(obj.entity)
    }
    return {obj: number for obj, number in counts.items() if number}


def archive_records(
    warehouse: Location, state_dir: Path, contract: Contract, person: Person, *, run_id: str, now: datetime
) -> dict[CrmObject, int]:
    """Archive them, children first; gives how many of each object.

    `FatalError` where a guardrail refuses it or the tenant's switches do, `RetryableError` where the CRM did not take all of
    it: then nobody is forgotten yet.
    """
    with connect(warehouse) as con:
        counts = to_archive(con, contract, person)
    if not counts:
        return {}
    specs, store = {obj: object_spec(contract, obj) for obj in counts}, OperationalStore.at(state_dir)
    board = SwitchBoard(store)
    board.of(contract.tenant).check_may_send()
    if left := [obj.value for obj in counts if obj in board.of(contract.tenant).left_out]:
        raise SwitchedOffError(
            f"{contract.tenant}: {board.of(contract.tenant).only}, so that {', '.join(left)} can't be archived. Nobody was"
            f" forgotten; first lms-crm switches clear --tenant {contract.tenant} --only, or set privacy.forget to leave"
        )
    with closing(crm_adapter(contract, store)) as crm:
        quota = crm.quota()
        pace = Pace(crm.batch_size, crm.linker.batch_size if crm.linker else 0, crm.calls_per_second)
        with connect(warehouse) as con:
            plan = _plan(
                con, contract, person, specs, pace=(pace, Quota(*quota) if quota else None), run_id=run_id, now=now
            )
        if plan.breaches:
            raise FatalError(
                f"the guardrails don't let the records be archived: {'; '.join(plan.breaches)}. Nobody was forgotten; raise"
                " the limit, or set privacy.forget to leave"
            )
        with connect(warehouse) as con:
            note_run(con, SyncRun(run_id, plan.plan_id, actor(), [], links_apart=crm.linker is not None, began_at=now))
        for obj, spec in specs.items():
            told = Delivery(
                crm=crm,
                spec=spec,
                plan_id=plan.plan_id,
                open_warehouse=lambda: connect(warehouse),
                folder=state_dir / "sync" / contract.tenant,
                sync_run_id=run_id,
                max_attempts=contract.delivery.max_attempts,
                may_go_on=lambda: board.of(contract.tenant).check_may_send(),
            ).run()
            if told.archived < counts[obj]:
                reasons = ", ".join(told.reasons) or "no reason is known"
                raise RetryableError(
                    f"the CRM archived {told.archived} of {counts[obj]} {obj} records ({reasons}): nobody was forgotten yet"
                )
    return counts


def _plan(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    person: Person,
    specs: Mapping[CrmObject, ObjectSpec],
    *,
    pace: tuple[Pace, Quota | None],
    run_id: str,
    now: datetime,
) -> Plan:
    found, sources = {}, {}
    with transaction(con):
        for obj in specs:
            keys = ", ".join(literal(key) for key in sorted(person.keys[obj.entity]))
            # As when the row had left the LMS: what is wanted still, or may come back from quarantine, is not archived.
            if table_exists(con, "delta", f"desired_{obj}"):
                con.execute(f"DELETE FROM delta.desired_{obj} WHERE external_id IN ({keys})")
            con.execute(
                f"DELETE FROM staging.quarantine WHERE entity = {literal(obj.entity)} AND source_id IN ({keys})"
            )
            live = f"crm_snapshot.{obj}"
            if not table_exists(con, "delta", obj):
                raise FatalError(f"{contract.tenant} has no delta of {obj} yet: run a full reconciliation first")
            con.execute(f"DELETE FROM delta.{obj}")
            con.execute(
                f"INSERT INTO delta.{obj} BY NAME SELECT external_id, crm_id, 'archive' AS action, 'ours' AS class,"
                f" [] AS changes, MAP {{}} AS parents, MAP {{}} AS parents_before FROM sync.ledger WHERE {_ours(obj, person)}"
            )
            number = scalar(con, f"SELECT count(*) FROM delta.{obj}")
            living = scalar(con, f"SELECT count(*) FROM {live}") if table_exists(con, "crm_snapshot", obj) else 0
            found[obj] = replace(_NOTHING, archive=number, live=living)
            table = obj.entity.staging_table
            known = table_exists(con, "staging", table)
            sources[obj] = scalar(con, f"SELECT count(*) FROM staging.{table}") if known else 0
    expected = forecast(found, dict.fromkeys(found, 0), *pace)
    return record_plan(
        con,
        list(specs.values()),
        forecast=expected,
        breaches=breaches(found, sources, expected, contract.guardrails),
        auto_apply=True,
        sync_run_id=run_id,
        now=now,
    )


def _ours(obj: CrmObject, person: Person) -> str:
    keys = ", ".join(literal(key) for key in sorted(person.keys.get(obj.entity, ())))
    return f"object = {literal(obj)} AND crm_id IS NOT NULL AND external_id IN ({keys})"
