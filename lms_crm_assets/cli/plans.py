"""`lms-crm plan`, `apply` and `explain`: reading what would change, sending exactly that, and why it did."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from lms_crm_assets.cli import completion
from lms_crm_assets.cli.console import Exit, complain_of, output_console, print_json, use_dagster_home
from lms_crm_assets.cli.options import JsonObject, ShowValues, Tenant
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.delta.plan import PlanTotals, check_sendable, find_plan, plan_rows, plan_totals
from lms_crm_assets.delta.show import plan_lines
from lms_crm_assets.domain import Action, CrmObject
from lms_crm_assets.errors import FatalError
from lms_crm_assets.settings import Settings
from lms_crm_assets.veil import veiled_rows, veiled_story
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate

if TYPE_CHECKING:
    from lms_crm_assets.defs.runs import RunSummary

_SHOWN_ROWS = 100


def plan(
    tenant: Tenant,
    *,
    obj: Annotated[CrmObject | None, typer.Option("--object", "-o", help="Show this object only.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the plan to a file for `lms-crm apply`.")] = None,
    as_json: JsonObject = False,
    all_rows: Annotated[bool, typer.Option("--all", help=f"Show all records, not the first {_SHOWN_ROWS}.")] = False,
    show_values: ShowValues = False,
) -> None:
    """Show what a reconciliation would change in the CRM, and change nothing. Personal values are masked.

    Example: [bold]lms-crm plan --tenant acme --out plan.json[/bold], read it, then
    [bold]lms-crm apply plan.json[/bold]
    """
    from lms_crm_assets.reconcile import run_for_tenant  # noqa: PLC0415 - Dagster takes a second to import

    use_dagster_home()
    settings = Settings.from_environ()
    console = output_console(to_stderr=as_json)
    summary = run_for_tenant(console, settings, tenant, "plan")
    plan_id = summary.plan.get("plan_id")
    if plan_id is None:
        raise typer.Exit(complain_of(summary.problems, passing=summary.passing))
    with connect(locate(settings, tenant)) as con:
        stored = find_plan(con, plan_id)
        document: dict[str, Any] = {
            "tenant": tenant,
            "plan_id": plan_id,
            "status": stored.status,
            "created_at": stored.created_at.isoformat(),
            "forecast": stored.forecast,
            "breaches": stored.breaches,
            "withheld": stored.withheld,
            "contacts_there_already": summary.plan.get("contacts_there_already", 0),
        }
        totals = plan_totals(con, plan_id, obj)
        rows = plan_rows(con, plan_id, obj, None if all_rows or as_json or out else _SHOWN_ROWS)
    if not show_values:
        rows = veiled_rows(rows, load_contract(settings.tenants_dir, tenant))
    if out is not None:
        out.write_text(json.dumps({**document, "rows": rows}, ensure_ascii=False, indent=1), encoding="utf-8")
    if as_json:
        print_json({**document, "rows": rows})
    else:
        _print_plan(console, document, rows if all_rows else rows[:_SHOWN_ROWS], totals, out)
        for line in summary.advice:
            console.print(f"! {line}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(Exit.MEND if stored.breaches else Exit.OK)


def _print_plan(
    console: Console, document: dict[str, Any], rows: list[dict[str, Any]], totals: PlanTotals, out: Path | None
) -> None:
    for line in plan_lines(rows):
        style = {"+": "green", "~": "yellow", "-": "red"}.get(line[0])
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    more = (
        " (more are not shown: --all)"
        if sum(row["action"] != Action.UNCHANGED for row in rows) < totals.written
        else ""
    )
    expected = document["forecast"]
    share = expected["quota_share_after"]
    console.print(f"\nPlan {document['plan_id']}: {_said(totals)}{more}.")
    if totals.left_alone:
        console.print(
            f"{totals.left_alone:,} records have fields that are left alone: a value that is none of the field's type, or of rows that are refused."
        )
    if not (expected["calls"] or document["breaches"]):
        return
    console.print(
        f"Sending it takes {expected['calls']:,} calls, about {expected['minutes']:.1f} minutes"
        + (f", and brings the day's quota to {share:.1%}." if share is not None else ".")
    )
    for breach in document["breaches"]:
        console.print(f"[red]✗[/red] {breach}", soft_wrap=True)
    if document["withheld"]:
        console.print(document["withheld"], markup=False, soft_wrap=True)
    elif totals.written:
        target = out or f"--tenant {document['tenant']} {document['plan_id']}"
        flag = " --despite-guardrails" if document["breaches"] else ""
        console.print(f"To send exactly this: [bold]lms-crm apply {target}{flag}[/bold]", soft_wrap=True)


def _said(totals: PlanTotals) -> str:
    actions = (("create", totals.create), ("update", totals.update), ("archive", totals.archive))
    others = " and ".join(
        f"{number:,} {said}"
        for said, number in (("changed in the CRM by others", totals.drift), ("changed on both sides", totals.conflict))
        if number
    )
    named = ", ".join(f"{number:,} to {action}" for action, number in actions if number) or "nothing to do"
    return f"{named}; {others}" if others else named


def apply(
    plan_name: Annotated[
        str,
        typer.Argument(
            metavar="PLAN", help="A plan's id, or the file that --out wrote.", autocompletion=completion.plans
        ),
    ],
    tenant: Annotated[
        str,
        typer.Option("--tenant", "-t", help="The tenant; a file names it itself.", autocompletion=completion.tenants),
    ] = "",
    *,
    despite_guardrails: Annotated[
        bool, typer.Option("--despite-guardrails", help="Send a plan that the guardrails refuse.")
    ] = False,
    as_json: JsonObject = False,
) -> None:
    """Send exactly a stored plan, unless what it would change has changed since.

    Both sides are read again first; the records that changed are named and nothing is sent.
    Example: [bold]lms-crm apply p-20261127-070000-1a2b --tenant acme[/bold]
    """
    from lms_crm_assets.reconcile import run_for_tenant  # noqa: PLC0415 - Dagster takes a second to import

    use_dagster_home()
    plan_id, tenant = _named_plan(plan_name, tenant)
    settings = Settings.from_environ()
    load_contract(settings.tenants_dir, tenant)
    with connect(locate(settings, tenant)) as con:
        check_sendable(find_plan(con, plan_id), despite_guardrails=despite_guardrails)
    console = output_console(to_stderr=as_json)
    config = {"delta__plan": {"apply_plan": plan_id, "despite_guardrails": despite_guardrails}}
    summary = run_for_tenant(console, settings, tenant, "apply", ops=config)
    end_of_run(console, tenant, summary, as_json=as_json)


def end_of_run(console: Console, tenant: str, summary: "RunSummary", *, as_json: bool) -> NoReturn:
    """Tell how a run ended, for people or for programs, and end as it did."""
    from lms_crm_assets.reconcile import as_document, print_outcome  # noqa: PLC0415 - as above

    if as_json:
        print_json(as_document(tenant, summary))
    elif summary.succeeded or summary.refused:
        print_outcome(console, tenant, summary)
    if not summary.succeeded:
        raise typer.Exit(complain_of(summary.problems, passing=summary.passing))
    if summary.waits:
        raise typer.Exit(Exit.WAITS)
    raise typer.Exit(Exit.OK if summary.agrees else Exit.UNDELIVERED)


def _named_plan(name: str, tenant: str) -> tuple[str, str]:
    """The plan's id and its tenant, from an id or a file."""
    file = Path(name)
    if not file.suffix:
        if not tenant:
            raise FatalError(f"whose plan is {name}? Add --tenant")
        return name, tenant
    if not file.is_file():
        raise FatalError(f"there is no file {file}")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return str(document["plan_id"]), str(document["tenant"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise FatalError(f"{file} is no plan that `lms-crm plan --out` wrote") from exc


def explain(
    learner: Annotated[str, typer.Argument(help="The learner's id in the LMS, their e-mail or their user name.")],
    tenant: Tenant,
    *,
    at: Annotated[
        datetime | None,
        typer.Option(
            help="As things were then (UTC).",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"],
        ),
    ] = None,
    as_json: JsonObject = False,
    show_values: ShowValues = False,
) -> None:
    """Tell one learner's story: raw row, checks, plans, what was sent and what the CRM answered, with times.

    Personal values are masked.
    Example: [bold]lms-crm explain 4711 --tenant acme --at 2026-11-20[/bold]
    """
    from lms_crm_assets.explain import explain as explained  # noqa: PLC0415 - polars and pandera take half a second
    from lms_crm_assets.explain import story_lines  # noqa: PLC0415 - as above

    settings = Settings.from_environ()
    contract = load_contract(settings.tenants_dir, tenant)
    warehouse = locate(settings, tenant)
    if not warehouse.exists():
        raise FatalError(f"{tenant} was never reconciled: there is no {warehouse}")
    with connect(warehouse) as con:
        story = explained(con, contract, learner, at=at)
    if not show_values:
        story = veiled_story(story, contract)
    if as_json:
        print_json(story)
        return
    for line in story_lines(story):
        typer.echo(line)
