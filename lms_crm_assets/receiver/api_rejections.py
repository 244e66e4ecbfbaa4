"""`GET …/rejections`: what was refused and why, so that the source can mend it. `GET …/status`: how the tenant does."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import duckdb
import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.crm.standing import crm_standing
from lms_crm_assets.ops.inbox import Depth
from lms_crm_assets.ops.modes import Mode, Modes
from lms_crm_assets.receiver.bodies import CACHE_HEADERS, RATE_HEADERS, cacheable, rate_headers
from lms_crm_assets.receiver.callers import Caller, client_of
from lms_crm_assets.receiver.connector import Connector, TheConnector
from lms_crm_assets.receiver.cursors import Since, cursor, position
from lms_crm_assets.receiver.feed_copy import copy_of
from lms_crm_assets.receiver.problems import documented
from lms_crm_assets.receiver.rejection_feed import listed, told
from lms_crm_assets.receiver.service import Service, service_of

MOST = 1000
router = APIRouter(prefix="/api/v1/tenants", tags=["connector"])
_KIND = "rejections"
_SHOWN_RUNS = 10
# Among so many plans the newest one that agrees is looked for.
_LOOKED_AT = 50
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"

_PLANS = f"""
SELECT plan_id, sync_run_id, status, created_at, approved_at, breaches, sent
FROM delta.plans ORDER BY created_at DESC, plan_id DESC LIMIT {_LOOKED_AT}
"""

_OUTCOMES = """
SELECT
    min(synced_at) AS first_at, count(*) FILTER (status = 'succeeded') AS succeeded,
    count(*) FILTER (status = 'rejected') AS rejected, count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (status = 'skipped') AS skipped
FROM sync.outcomes WHERE synced_at >= $1 GROUP BY sync_run_id
"""


class Rejection(BaseModel):
    """One row or record that was refused, and still is."""

    model_config = ConfigDict(extra="forbid")

    side: Literal["lms", "crm"] = Field(
        description="`lms`: our checks refused the row. `crm`: the CRM refused the record, or would by its schema."
    )
    kind: str = Field(description="The entity, or the CRM object.")
    id: str | None = Field(description="The row's id in the LMS; null when it has none.")
    code: str | None = Field(description="Ours (docs/error-codes.md), or the CRM's own.")
    catalogue_code: str = Field(description="Ours in any case.")
    rule: str = Field(description="What `catalogue_code` is called; of `LMS-299` the rule's name in the contract.")
    column: str | None = Field(
        description="The column to blame; of the operation `check` the CRM's field. Null for what the CRM answered."
    )
    remedy: str = Field(description="What to do.")
    operation: str | None = Field(
        description="`crm`: what was tried, as `upsert` or `link contact`; `check`: it was not sent, for the CRM's schema"
        " says that it would be refused."
    )
    attempts: int | None = Field(
        description="How often it was refused: a row as the LMS gave it, or the same values on their way to the CRM."
    )
    dead_letter: bool = Field(description="`crm`: it is not sent any more until its values change or a person says so.")
    first_at: str = Field(description="Since when it is refused.")
    noted_at: str = Field(description="When it came into this listing last.")


class Rejections(BaseModel):
    """A page of what is refused at present, in the order in which it became known."""

    model_config = ConfigDict(extra="forbid")

    rejections: list[Rejection]
    next: str = Field(description="The cursor for the next call, also when this was the last page.")
    more: bool = Field(description="Whether there is another page now.")


class InboxDepth(BaseModel):
    """What was delivered and is not in the CRM yet."""

    model_config = ConfigDict(extra="forbid")

    pending: int
    leased: int
    parked: int = Field(description="Given up until a person replays them.")
    oldest_age_seconds: float | None = Field(description="Of what is pending or leased.")
    conflicts: int = Field(description="Deliveries that came with a known id and another content.")


class Quota(BaseModel):
    """The CRM's daily calls, as it told last."""

    model_config = ConfigDict(extra="forbid")

    used: int
    allowed: int
    runs_may_use: float = Field(description="The contract's `guardrails.quota_share`.")


class Crm(BaseModel):
    """How the CRM does."""

    model_config = ConfigDict(extra="forbid")

    breaker: Literal["closed", "open"] = Field(
        description="`open`: it has not answered, and is asked now and then only."
    )
    down_seconds: float = Field(description="For how long.")
    quota: Quota | None = Field(description="Null when the CRM never told.")
    dead_letters: int = Field(description="Records that are not sent any more.")
    rejected: int = Field(description="Records that it refused when they were sent last, dead letters included.")


class Run(BaseModel):
    """One plan and what became of it."""

    model_config = ConfigDict(extra="forbid")

    run_id: str
    plan_id: str
    plan: Literal["approved", "waiting", "refused", "dry_run", "withheld"] = Field(
        description="`refused`: by the guardrails. `dry_run`: a feature switch keeps it. `withheld`: its canaries failed."
    )
    planned_at: str
    breaches: list[str] = Field(description="Which guardrails it breaks.")
    sent: list[str] = Field(description="The objects that were delivered.")
    succeeded: int
    rejected: int
    failed: int
    skipped: int


class Status(BaseModel):
    """How the tenant does."""

    model_config = ConfigDict(extra="forbid")

    tenant: str
    mode: Literal["push", "pull", "hybrid"] = Field(description="How changes arrive now.")
    contract_mode: Literal["push", "pull", "hybrid"] = Field(description="How they should, by the contract.")
    switched_why: str | None = Field(
        description="Why they arrive otherwise than by the contract; null while they don't."
    )
    switched_since: str | None = Field(description="Since when.")
    agreed_at: str | None = Field(description="Of when the newest plan is that was sent and taken in full.")
    lag_seconds: float | None = Field(description="How long ago that is; null when there was none of late.")
    promised_seconds: int = Field(description="The contract's `sla.freshness_minutes`.")
    inbox: InboxDepth
    crm: Crm
    refused_rows: int = Field(description="Rows that our checks refuse at present.")
    runs: list[Run] = Field(description="The newest first.")


@router.get(
    "/{tenant}/rejections",  # noqa: FAST003 - `client_of` takes it
    summary="What is refused, with codes",
    response_model=Rejections,
    responses={
        200: {"description": "A page.", "headers": {**CACHE_HEADERS, **RATE_HEADERS}},
        304: {"description": "As the ETag says that you have it."},
        **documented(400, 401, 403, 405, 408, 413, 415, 422, 429, 500, 503),
    },
)
async def rejections(
    request: Request,
    connector: TheConnector,
    caller: Annotated[Caller, client_of("rejections")],
    since: Since = None,
    limit: Annotated[int, Query(ge=1, le=MOST, description="Rejections a page.")] = MOST,
) -> Response:
    """The page after the cursor."""
    return cacheable(request, await run_in_threadpool(_rejections, connector, caller, since, limit))


@router.get(
    "/{tenant}/status",  # noqa: FAST003 - `client_of` takes it
    summary="How the tenant does",
    response_model=Status,
    responses={
        200: {"description": "How it does.", "headers": RATE_HEADERS},
        **documented(400, 401, 403, 405, 408, 413, 415, 429, 500, 503),
    },
)
async def status(request: Request, connector: TheConnector, caller: Annotated[Caller, client_of("status")]) -> Response:
    """Everything at once."""
    found = await run_in_threadpool(_status, connector, service_of(request), caller)
    headers = {"Cache-Control": "no-store", **rate_headers(request)}
    return Response(found.model_dump_json(), 200, headers, media_type="application/json")


def _rejections(connector: Connector, caller: Caller, since: str | None, limit: int) -> bytes:
    after = position(since, _KIND, (int, str)) if since else (-(2**62), "")
    with copy_of(connector.published, caller.tenant) as con:
        rows = listed(con, after, limit + 1) if con else []
    page = rows[:limit]
    reached = page[-1].place if page else after
    found = [told(row, caller.contract) for row in page]
    return orjson.dumps({"rejections": found, "next": cursor(_KIND, *reached), "more": len(rows) > limit})


def _status(connector: Connector, service: Service, caller: Caller) -> Status:
    tenant, contract, now = caller.tenant, caller.contract, service.clock()
    depth = service.inbox.depth(tenant) if service.inbox else Depth()
    with copy_of(connector.published, tenant) as con:
        counts = _counts(con, contract)
        runs = _runs(con)
    agreed = next((run for run in runs if _agrees(run, contract)), None)
    agreed_at = agreed["created_at"] if agreed else None
    crm, standing = crm_standing(contract, connector.store), Modes(connector.store).standing(tenant)
    return Status(
        tenant=tenant,
        mode=standing.mode(Mode(contract.mode)).value,
        contract_mode=contract.mode,
        switched_why=standing.reason if standing.switched else None,
        switched_since=datetime.fromtimestamp(standing.since, UTC).strftime(_TIME) if standing.switched else None,
        agreed_at=agreed_at.strftime(_TIME) if agreed_at else None,
        lag_seconds=round(max(0.0, now - agreed_at.timestamp()), 1) if agreed_at else None,
        promised_seconds=contract.sla.freshness_minutes * 60,
        inbox=InboxDepth(
            pending=depth.pending,
            leased=depth.leased,
            parked=depth.parked,
            oldest_age_seconds=None if depth.oldest_at is None else round(max(0.0, now - depth.oldest_at), 1),
            conflicts=depth.conflicts,
        ),
        crm=Crm(
            breaker="open" if crm.is_open else "closed",
            down_seconds=round(crm.down_seconds, 1),
            quota=Quota(used=crm.quota[0], allowed=crm.quota[1], runs_may_use=contract.guardrails.quota_share)
            if crm.quota
            else None,
            dead_letters=counts["dead"],
            rejected=counts["rejected"],
        ),
        refused_rows=counts["refused"],
        runs=[
            Run(
                run_id=run["sync_run_id"],
                plan_id=run["plan_id"],
                plan=run["status"],
                planned_at=run["created_at"].strftime(_TIME),
                breaches=run["breaches"],
                sent=run["sent"],
                **run["outcomes"],
            )
            for run in runs[:_SHOWN_RUNS]
        ],
    )


def _counts(con: duckdb.DuckDBPyConnection | None, contract: Contract) -> dict[str, int]:
    if con is None:
        return {"dead": 0, "rejected": 0, "refused": 0}
    [row] = con.execute(
        "SELECT (SELECT count(*) FILTER (attempts >= $1) FROM sync.rejections), (SELECT count(*) FROM sync.rejections),"
        " (SELECT count(DISTINCT (entity, source_id)) FROM staging.quarantine)",
        [contract.delivery.max_attempts],
    ).fetchall()
    return dict(zip(("dead", "rejected", "refused"), row, strict=True))


def _runs(con: duckdb.DuckDBPyConnection | None) -> list[dict[str, Any]]:
    """The newest plans, each with the outcomes of what was sent between its approval and the next one's."""
    if con is None:
        return []
    plans = _dicts(con, _PLANS)
    outcomes = _dicts(con, _OUTCOMES, [min((plan["created_at"] for plan in plans), default=datetime.now(UTC))])
    for plan in plans:
        plan["breaches"], plan["sent"] = plan["breaches"] or [], plan["sent"] or []
        plan["outcomes"] = dict.fromkeys(("succeeded", "rejected", "failed", "skipped"), 0)
    approved = sorted((plan for plan in plans if plan["approved_at"]), key=lambda plan: plan["approved_at"])
    for run in outcomes:
        before = [plan for plan in approved if plan["approved_at"] <= run["first_at"]]
        for name in ("succeeded", "rejected", "failed", "skipped") if before else ():
            before[-1]["outcomes"][name] += run[name]
    return plans


def _agrees(run: Mapping[str, Any], contract: Contract) -> bool:
    undelivered = sum(number for name, number in run["outcomes"].items() if name != "succeeded")
    return run["status"] == "approved" and not undelivered and set(contract.in_order()) <= set(run["sent"])


def _dicts(con: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    found = con.execute(query, list(values))
    names = [column[0] for column in found.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    for row in rows:
        for name, value in row.items():
            if isinstance(value, datetime):
                row[name] = value.astimezone(UTC)
    return rows
