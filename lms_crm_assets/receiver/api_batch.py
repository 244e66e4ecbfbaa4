"""`POST …/{entity}:batchUpsert`: rows of an LMS that sends no webhooks, in the shape of the changes contract.

The rows that are accepted are on the disk, as one delivery in the inbox, before the answer says so; those that break a
rule by themselves are refused at once, with the code that a run would give them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from lms_crm_assets.checks import codes
from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.row_rules import WORDS
from lms_crm_assets.checks.rules import Rules, rules_for
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.ops.inbox import Delivery, Side
from lms_crm_assets.receiver.bodies import RATE_HEADERS, rate_headers, read_body
from lms_crm_assets.receiver.callers import Caller, client_of
from lms_crm_assets.receiver.connector import Connector, TheConnector
from lms_crm_assets.receiver.idempotency import Answer, Claim, checked_key, fingerprint
from lms_crm_assets.receiver.problems import Problem, documented
from lms_crm_assets.receiver.service import Service, service_of
from lms_crm_assets.receiver.strict_json import NotJsonError, read_json
from lms_crm_assets.staging.build import RowJudge
from lms_crm_assets.staging.tables import COLUMNS

CONTENT_TYPE = "application/vnd.lms-crm.batch+json"
MOST_ITEMS = 500
router = APIRouter(prefix="/api/v1/tenants", tags=["connector"])
_JSON = "application/json"


class ItemResult(BaseModel):
    """What became of one row."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(description="The row's id; null when it has none.")
    status: Literal["accepted", "rejected"] = Field(description="`accepted`: it is kept, and the next run takes it.")
    code: str | None = Field(description="Of a rejected row: docs/error-codes.md.")
    detail: str | None = Field(description="Of a rejected row: what is wrong, where, and what to do.")


class BatchResult(BaseModel):
    """What became of the rows, in their order."""

    model_config = ConfigDict(extra="forbid")

    accepted: int
    rejected: int
    items: list[ItemResult]


@dataclass(frozen=True)
class _Batch:
    """A batch as it was read: its rows, and the text that is equal for equal batches."""

    items: Sequence[Any]
    content: bytes


def _add_route(entity: LmsEntity) -> None:
    @router.post(
        f"/{{tenant}}/{entity}:batchUpsert",
        name=f"{entity}_batch_upsert",
        summary=f"Send {entity} that are new, changed or deleted",
        response_model=BatchResult,
        responses={
            200: {
                "description": "What became of each row.",
                "headers": {
                    **RATE_HEADERS,
                    "Idempotent-Replayed": {
                        "description": "`true`: this is the answer that the key got the first time.",
                        "schema": {"type": "string"},
                    },
                },
            },
            **documented(400, 401, 403, 405, 408, 409, 413, 415, 422, 429, 500, 503),
        },
        openapi_extra={
            "parameters": [_KEY_PARAMETER],
            "requestBody": {"required": True, "content": {_JSON: {"schema": _body_schema(entity)}}},
        },
    )
    async def batch_upsert(
        request: Request, connector: TheConnector, caller: Annotated[Caller, client_of("write")]
    ) -> Response:
        key = checked_key(request.headers.getlist("idempotency-key"))
        body = await read_body(request, _JSON)
        batch = await run_in_threadpool(_read, body)
        keys = connector.keys
        scope = f"{caller.tenant} {entity}:batchUpsert"
        claim = await run_in_threadpool(keys.claim, scope, key, fingerprint(batch.content))
        if isinstance(claim, Answer):
            return _response(claim, {"Idempotent-Replayed": "true", **rate_headers(request)})
        try:
            answer = await _run(
                connector, service_of(request), caller, rules_for(caller.contract.checks, entity), claim, batch
            )
        except Problem:
            # Nothing was promised; a repeat shall be tried, not be told of this.
            await run_in_threadpool(keys.release, claim)
            raise
        kept = await run_in_threadpool(keys.finish, claim, answer)
        return _response(kept, rate_headers(request))


def _response(answer: Answer, headers: Mapping[str, str]) -> Response:
    return Response(answer.body, answer.status, {"Cache-Control": "no-store", **answer.headers, **headers})


async def _run(
    connector: Connector, service: Service, caller: Caller, rules: Rules, claim: Claim, batch: _Batch
) -> Answer:
    results, accepted = await run_in_threadpool(_judged, connector.judge, rules, batch.items)
    if accepted:
        body = b'{"entity":"%s","items":[%s]}' % (rules.entity.encode(), b",".join(accepted))
        await service.writer.keep(
            Delivery(
                caller.tenant,
                Side.LMS,
                f"{rules.entity}:batchUpsert:{claim.key}:{claim.nonce}",
                CONTENT_TYPE,
                body,
                # A repeat after a crash is the same delivery, even if an upgrade judges a row otherwise meanwhile.
                essence=batch.content,
            )
        )
    told = BatchResult(accepted=len(accepted), rejected=len(results) - len(accepted), items=results)
    return Answer(200, {"Content-Type": _JSON}, told.model_dump_json().encode())


def _read(body: bytes) -> _Batch:
    try:
        document = read_json(body)
    except NotJsonError as exc:
        raise Problem(400, str(exc), code="INVALID_JSON") from None
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list) or set(document) != {"items"}:
        raise Problem(422, 'the body has to be {"items": [...]} and nothing else', code="INVALID_REQUEST")
    if not 0 < len(items) <= MOST_ITEMS:
        raise Problem(422, f"a batch has 1 to {MOST_ITEMS} items", code="INVALID_REQUEST")
    try:
        return _Batch(items, orjson.dumps(items, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError:  # a number or text in it that can't be kept: its row is refused below
        return _Batch(items, body)


def _judged(judge: RowJudge, rules: Rules, items: Sequence[Any]) -> tuple[list[ItemResult], list[bytes]]:
    """What becomes of each row, and the rows that are accepted, as JSON."""
    violations: list[list[tuple[str, str]]] = []
    texts: list[bytes] = []
    for item in items:
        text, found = _readable(item)
        texts.append(text)
        violations.append(found)
    to_judge = [n for n, item in enumerate(items) if not violations[n] and not item.get("deleted")]
    judged = judge.judge(rules, [texts[n].decode() for n in to_judge]) if to_judge else {}
    for place, found in judged.items():
        violations[to_judge[place]] = found
    results = [_result(item, found) for item, found in zip(items, violations, strict=True)]
    return results, [text for text, found in zip(texts, violations, strict=True) if not found]


def _readable(item: Any) -> tuple[bytes, list[tuple[str, str]]]:
    """A row as JSON, and what makes it unreadable as one."""
    if not isinstance(item, dict):
        return b"", [(codes.TYPE.code, "the row")]
    source_id = item.get("id")
    if source_id is None or (isinstance(source_id, str) and not source_id.strip()):
        return b"", [(codes.REQUIRED.code, "id")]
    if isinstance(source_id, bool) or not isinstance(source_id, str | int):
        return b"", [(codes.TYPE.code, "id")]
    if not isinstance(item.get("deleted", False), bool):
        return b"", [(codes.TYPE.code, "deleted")]
    try:
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS), []
    except orjson.JSONEncodeError:
        return b"", [(codes.TYPE.code, "the row")]


def _result(item: Any, found: Sequence[tuple[str, str]]) -> ItemResult:
    given = item.get("id") if isinstance(item, dict) else None
    shown = isinstance(given, str | int) and not isinstance(given, bool)
    # A text that is no Unicode (half of a surrogate pair) can't be answered either.
    source_id = str(given).encode("utf-8", "replace").decode() if shown else None
    if not found:
        return ItemResult(id=source_id, status="accepted", code=None, detail=None)
    code = found[0][0]
    where = "; ".join(f"{column}: {CATALOGUE[each].meaning}" for each, column in found)
    return ItemResult(id=source_id, status="rejected", code=code, detail=f"{where} {CATALOGUE[code].remedy}")


_KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "A new one for each new request, the same one for each repeat. A repeat is answered as the first time,"
    " for a day at least.",
    "schema": {"type": "string", "pattern": "^[!#-\\[\\]-~]{1,255}$", "maxLength": 255},
}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "VARCHAR": {"type": ["string", "null"]},
    "JSON": {},
    "BOOLEAN": {"type": ["boolean", "null"]},
    "TIMESTAMPTZ": {"type": ["string", "null"], "format": "date-time", "description": "RFC 3339 with an offset."},
    "DECIMAL(12,5)": {"type": ["number", "null"]},
}
_COMPETENCY = ("code", "name", "framework")


def _body_schema(entity: LmsEntity) -> dict[str, Any]:
    """What a body has to be; the rows' own rules are told by row, so that one bad row holds up no other."""
    row: dict[str, Any] = {
        "id": {"type": ["string", "integer"], "description": "The row's id in the LMS."},
        "updated_at": _SCHEMAS["TIMESTAMPTZ"],
        "deleted": {"type": "boolean", "description": "The row is gone; nothing but its id is read."},
    }
    for name, kind in COLUMNS[entity].items():
        if name in {"extra", "completed_at_precision"}:
            continue
        schema = dict(_SCHEMAS[kind])
        if words := WORDS.get((entity, name)):
            schema = {"type": "string", "enum": words}
        if entity is LmsEntity.COMPETENCIES and name in _COMPETENCY:
            row.setdefault("competency", {"type": "object", "properties": {}})["properties"][name] = schema
        else:
            row[name] = schema
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["items"],
        "properties": {
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_ITEMS,
                "items": {
                    "type": "object",
                    "description": "A row of the changes contract (docs/changes-contract.md). A row that is not as told"
                    " here is refused by itself, with a code.",
                    "properties": row,
                    "required": ["id"],
                },
            }
        },
    }


for _entity in LmsEntity:
    _add_route(_entity)
