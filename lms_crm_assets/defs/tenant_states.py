"""How tenants stand now: Dagster's history, the operational store, the inbox and the contract put together."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import dagster as dg

from lms_crm_assets.alerts.expiries import expiries
from lms_crm_assets.alerts.state import Reading, Since, TenantState, freshness
from lms_crm_assets.contract.alerts import Alerts
from lms_crm_assets.contract.models import Contract, Schedules
from lms_crm_assets.crm.standing import crm_standing
from lms_crm_assets.defs.resources import TenantsResource
from lms_crm_assets.defs.run_history import RunHistory
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.inbox import Depth, Inbox
from lms_crm_assets.ops.metrics import last_success
from lms_crm_assets.ops.modes import Modes
from lms_crm_assets.ops.switches import SwitchBoard

# A run of events looks at single rows: it says nothing of the others.
_RECONCILING = (Reading.FULL, Reading.PULL)

# Of yesterday's calls nothing follows.
_DAY_SECONDS = 86_400.0


def tenant_states(
    instance: dg.DagsterInstance, tenants: TenantsResource, names: Iterable[str], now: datetime
) -> Iterator[TenantState]:
    """The tenants of these names as they stand, one after the other."""
    inbox = known_inbox(tenants)
    depths = inbox.depths() if inbox else {}
    history = RunHistory(instance)
    for tenant in names:
        yield _state(history, tenants, tenant, depths.get(tenant, Depth()), now)


def known_inbox(tenants: TenantsResource) -> Inbox | None:
    """The inbox, where there is a key for it."""
    try:
        return tenants.inbox()
    except LmsCrmError:
        return None


def _state(history: RunHistory, tenants: TenantsResource, tenant: str, depth: Depth, now: datetime) -> TenantState:
    contract, problem = _contract(tenants, tenant)
    store = tenants.store()
    standing = Modes(store).standing(tenant)
    switches = SwitchBoard(store).of(tenant)
    pause = switches.paused
    # Of more runs than the history looks at the figures tell.
    agreed_at = history.agreed_at(tenant, _RECONCILING) or last_success(store, tenant)
    fresh = freshness(
        agreed_at,
        history.agreed_at(tenant, [Reading.FULL]),
        contract.sla.freshness_minutes if contract else None,
        (contract.schedules if contract else Schedules()).full,
        now,
        begun_at=None if agreed_at else history.begun_at(tenant, _RECONCILING),
    )
    return TenantState(
        tenant,
        now,
        fresh,
        problem=problem,
        alerts=contract.alerts if contract else Alerts(),
        mode=contract.mode if contract else "",
        newest=history.newest(tenant),
        depth=depth,
        quota=crm_standing(contract, store, _DAY_SECONDS).quota if contract else None,
        expiries=expiries(contract, store) if contract else (),
        switched=Since(standing.since, standing.reason) if contract and standing.switched else None,
        paused=Since(pause.since.timestamp(), f"by {pause.set_by}{pause.reason and f' ({pause.reason})'}")
        if pause
        else None,
        switches=str(switches),
    )


def _contract(tenants: TenantsResource, tenant: str) -> tuple[Contract | None, str]:
    try:
        return tenants.contract(tenant), ""
    except LmsCrmError as exc:
        return None, str(exc)
