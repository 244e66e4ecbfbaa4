"""What a shell completes behind a tab: names that are there. It never fails and never waits: no name is an answer too."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import duckdb
import typer

from lms_crm_assets.contract.loading import tenant_names
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import SETTINGS
from lms_crm_assets.warehouse.location import locate

_MOST = 20


def tenants(incomplete: str) -> list[str]:
    """Tenants that have a contract."""
    with suppress(Exception):
        return [name for name in tenant_names(Settings.from_environ().tenants_dir) if name.startswith(incomplete)]
    return []


def plans(ctx: typer.Context, incomplete: str) -> list[str]:
    """The newest plans that were not sent, of the tenant that was said or of all, and files that may be plans."""
    found: list[str] = []
    tenant = ctx.params.get("tenant")
    for name in [tenant] if tenant else tenants(""):
        with suppress(Exception):
            found += _unsent(name)
    # Above a folder of the state nothing is a plan, and a folder may be large.
    found += [str(path) for path in sorted(Path().glob("*.json"))]
    return [each for each in found if each.startswith(incomplete)]


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """The newest runs of the tenant of which there is a report."""
    with suppress(Exception):
        settings = Settings.from_environ()
        if OperationalStore.is_made(settings.state_dir):
            rows = OperationalStore.at(settings.state_dir).read(
                "SELECT run_id FROM reports WHERE tenant = ? ORDER BY ended_at DESC LIMIT ?",
                (ctx.params.get("tenant") or "", _MOST),
            )
            return [run_id for (run_id,) in rows if run_id.startswith(incomplete)]
    return []


def _unsent(tenant: str) -> Iterator[str]:
    location = locate(Settings.from_environ(), tenant)
    if not isinstance(location, Path) or not location.is_file():
        return
    # The file itself, for some milliseconds: a copy may take minutes, and while a run holds it this fails at once.
    with closing(duckdb.connect(location, read_only=True, config=dict(SETTINGS))) as con:
        rows = con.execute(
            "SELECT plan_id FROM delta.plans WHERE len(sent) = 0 AND CAST(forecast ->> 'calls' AS INTEGER) > 0"
            " ORDER BY created_at DESC LIMIT $1",
            [_MOST],
        ).fetchall()
    yield from (plan_id for (plan_id,) in rows)
