"""`lms-crm crm schema` and `accept`: what changed on both sides since a person last accepted them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from lms_crm_assets.cli.console import Exit, print_json
from lms_crm_assets.cli.options import JsonObject, Tenant
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import FatalError
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import Location, locate

if TYPE_CHECKING:
    import duckdb

    from lms_crm_assets.crm.acceptance import Finding

_MARKS = {"block": "✗", "alert": "!", "note": "·"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One change of one side; `of` is the object or the entity."""

    side: str
    of: str
    text: str
    row: dict[str, str]


def schema(
    tenant: Tenant,
    *,
    as_json: JsonObject = False,
) -> None:
    """What changed since it was accepted: in the CRM, which is asked now, and in what the LMS last sent.

    Exit code 1 when a change stops runs (✗) or has single records refused (!).
    Example: [bold]lms-crm crm schema --tenant acme[/bold]
    """
    from lms_crm_assets.crm.examine import examine  # noqa: PLC0415 - the vendors' clients take a second
    from lms_crm_assets.discovery.crm_schema import keep  # noqa: PLC0415 - as above

    settings = Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    found = examine(contract, OperationalStore.at(settings.state_dir))
    with connect(_warehouse(settings, tenant)) as con:
        keep(con, found, datetime.now(UTC))
        lines = list(_lines(con, contract))
    stops = [finding for each in found.values() for finding in each.findings if finding.blocks]
    if as_json:
        print_json({**_told(tenant, lines), "stops": [asdict(finding) for finding in stops]})
    else:
        for line in lines:
            typer.echo(_shown(line))
        for finding in stops:
            typer.echo(f"✗ {finding.text}")
        typer.echo(_conclusion(tenant, lines, stops))
    raise typer.Exit(Exit.MEND if stops or any(line.row["effect"] != "note" for line in lines) else 0)


def accept(tenant: Tenant, *, as_json: JsonObject = False) -> None:
    """Take what was discovered last, of both sides, for what is to be: the changes are told no more.

    A CRM that can't hold what the contract sends goes on stopping runs: mend the contract.
    Example: [bold]lms-crm crm accept --tenant acme[/bold]
    """
    from lms_crm_assets.discovery.crm_schema import accept_newest, newest  # noqa: PLC0415 - as above
    from lms_crm_assets.discovery.lms_shape import accept_newest_shapes  # noqa: PLC0415 - as above

    settings = Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    with connect(_warehouse(settings, tenant)) as con:
        if not any(newest(con, obj) for obj in contract.in_order()):
            raise FatalError(f"nothing was discovered of {tenant} yet: lms-crm crm schema --tenant {tenant}")
        lines, now = list(_lines(con, contract)), datetime.now(UTC)
        accept_newest(con, contract.in_order(), now)
        accept_newest_shapes(con, now)
    AuditLog(OperationalStore.at(settings.state_dir)).note(person(), "crm.accepted", tenant, f"{len(lines)} changes")
    stopped = any(line.row["effect"] == "block" for line in lines)
    if as_json:
        print_json({**_told(tenant, lines), "still_stopped": stopped})
        return
    for line in lines:
        typer.echo(f"accepted {line.side} {line.of}.{line.text}")
    typer.echo(f"{tenant}: {len(lines)} changes are accepted" if lines else f"{tenant}: there was nothing to accept")
    if stopped:
        typer.echo(f"Runs are still stopped until what blocks is mended: lms-crm crm schema --tenant {tenant}")


def _lines(con: "duckdb.DuckDBPyConnection", contract: Contract) -> Iterator[_Line]:
    from lms_crm_assets.discovery.lms_changes import standing_shapes  # noqa: PLC0415 - as above
    from lms_crm_assets.discovery.standing import standing_changes  # noqa: PLC0415 - as above

    for obj in contract.in_order():
        for each in standing_changes(con, object_spec(contract, obj)):
            yield _Line("CRM", obj.value, each.change.text, each.row)
    keeps_unknown = contract.unknown_attributes == "keep"
    for entity in LmsEntity:
        for seen in standing_shapes(con, entity, contract.source.adapter, keeps_unknown=keeps_unknown):
            yield _Line("LMS", entity.value, seen.change.text, seen.row)


def _shown(line: _Line) -> str:
    since, remedy = line.row["since"], line.row["remedy"]
    return f"{_MARKS[line.row['effect']]} {line.side} {line.of}.{line.text}, since {since}: {remedy}"


def _conclusion(tenant: str, lines: list[_Line], stops: "list[Finding]") -> str:
    if stops:
        return f"{tenant}: nothing is sent until this is mended (✗)"
    if any(line.row["effect"] != "note" for line in lines):
        return f"{tenant}: when all of it is meant to be so: lms-crm crm accept --tenant {tenant}"
    return f"{tenant}: both sides are as they were accepted"


def _told(tenant: str, lines: list[_Line]) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "crm": [{"object": line.of, **line.row} for line in lines if line.side == "CRM"],
        "lms": [{"entity": line.of, **line.row} for line in lines if line.side == "LMS"],
    }


def _warehouse(settings: Settings, tenant: str) -> Location:
    return locate(settings, tenant)
