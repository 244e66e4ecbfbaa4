"""`GET …/changes`: the canonical rows in the order in which they changed, for a CRM or whoever else pulls.

A consumer pages with `next` until `more` is false, keeps the last `next`, and asks with it again later. Each row stands in
the listing once, and moves to its end when it changes: whatever happens meanwhile, the consumer ends with the same rows.
"""

from typing import Annotated, Any

import duckdb
import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.receiver.bodies import CACHE_HEADERS, RATE_HEADERS, cacheable
from lms_crm_assets.receiver.callers import Caller, client_of
from lms_crm_assets.receiver.connector import Connector, TheConnector
from lms_crm_assets.receiver.cursors import Since, cursor, expired, position
from lms_crm_assets.receiver.feed_copy import copy_of
from lms_crm_assets.receiver.problems import documented
from lms_crm_assets.staging.tables import COLUMNS
from lms_crm_assets.warehouse.sql import quoted

MOST = 1000
router = APIRouter(prefix="/api/v1/tenants", tags=["connector"])
_KIND = "changes"
_MOMENT = "strftime({0}, '%Y-%m-%dT%H:%M:%S.%fZ')"


class Change(BaseModel):
    """One row as it stands now."""

    model_config = ConfigDict(extra="forbid")

    entity: LmsEntity = Field(description="What it is.")
    id: str = Field(description="Its id in the LMS.")
    op: str = Field(description="`upsert`, or `delete` when it is no valid row any more.", pattern="^(upsert|delete)$")
    reason: str | None = Field(
        description="Of a delete: `gone` from the LMS, or `refused`: it stands in the rejections until it is mended.",
    )
    changed_at: str = Field(description="When a run found it so.")
    data: dict[str, Any] | None = Field(description="Its canonical columns; null of a delete.")


class Changes(BaseModel):
    """A page of the feed."""

    model_config = ConfigDict(extra="forbid")

    changes: list[Change]
    next: str = Field(description="The cursor for the next call, also when this was the last page.")
    more: bool = Field(description="Whether there is another page now.")


@router.get(
    "/{tenant}/changes",  # noqa: FAST003 - `client_of` takes it
    summary="What changed, in a stable order",
    response_model=Changes,
    responses={
        200: {"description": "A page.", "headers": {**CACHE_HEADERS, **RATE_HEADERS}},
        304: {"description": "As the ETag says that you have it."},
        **documented(400, 401, 403, 405, 408, 410, 413, 415, 422, 429, 500, 503),
    },
)
async def changes(
    request: Request,
    connector: TheConnector,
    caller: Annotated[Caller, client_of("changes")],
    since: Since = None,
    limit: Annotated[int, Query(ge=1, le=MOST, description="Rows a page.")] = MOST,
    entity: Annotated[LmsEntity | None, Query(description="Only these rows.")] = None,
) -> Response:
    """The page after the cursor."""
    body = await run_in_threadpool(_page, connector, caller.tenant, since, limit, entity)
    return cacheable(request, body)


def _page(connector: Connector, tenant: str, since: str | None, limit: int, entity: LmsEntity | None) -> bytes:
    feed, after = position(since, _KIND, (str, int)) if since else ("", 0)
    with copy_of(connector.published, tenant) as con:
        if con is None:
            return orjson.dumps({"changes": [], "next": cursor(_KIND, feed, after), "more": False})
        [(present,)] = con.execute("SELECT feed FROM staging.feed").fetchall()
        if feed not in {present, ""}:
            raise expired()
        rows = con.execute(
            "SELECT changed_no, entity, source_id, op, " + _MOMENT.format("changed_at") + " FROM staging.changes"
            " WHERE changed_no > $after AND ($entity IS NULL OR entity = $entity) ORDER BY changed_no LIMIT $limit",
            {"after": after, "entity": entity, "limit": limit + 1},
        ).fetchall()
        page, more = rows[:limit], len(rows) > limit
        found = _data(con, page)
    told = [
        {
            "entity": row_entity,
            "id": source_id,
            "op": "upsert" if op == "upsert" else "delete",
            "reason": {"upsert": None, "delete": "gone", "refused": "refused"}[op],
            "changed_at": changed_at,
            "data": found[row_entity, source_id] if op == "upsert" else None,
        }
        for _, row_entity, source_id, op, changed_at in page
    ]
    # An older copy, of another receiver say, may not have come as far as the cursor yet.
    reached = page[-1][0] if page else after
    return orjson.dumps({"changes": told, "next": cursor(_KIND, present, reached), "more": more})


def _data(con: duckdb.DuckDBPyConnection, page: list[tuple[Any, ...]]) -> dict[tuple[str, str], orjson.Fragment]:
    """The canonical columns of the page's rows, as JSON."""
    found: dict[tuple[str, str], orjson.Fragment] = {}
    for entity in LmsEntity:
        ids = [source_id for _, of, source_id, op, _ in page if of == entity and op == "upsert"]
        if ids:
            rows = con.execute(
                f"SELECT source_id, to_json(struct_pack({_columns(entity)}))::VARCHAR FROM (FROM"
                f" staging.{entity.staging_table} SEMI JOIN (SELECT unnest($1) AS source_id) USING (source_id))",
                [ids],
            ).fetchall()
            found |= {(entity.value, source_id): orjson.Fragment(data) for source_id, data in rows}
    return found


def _columns(entity: LmsEntity) -> str:
    columns = {**COLUMNS[entity], "source_updated_at": "TIMESTAMPTZ"}
    return ", ".join(f"{quoted(name)} := {_plain(quoted(name), kind)}" for name, kind in columns.items())


def _plain(column: str, kind: str) -> str:
    """A value as JSON knows it."""
    if kind == "TIMESTAMPTZ":
        return _MOMENT.format(column)
    return f"{column}::DOUBLE" if kind.startswith("DECIMAL") else column
