"""Everything of a tenant that is refused at present, in one listing: rows by our checks, records by or for the CRM."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import duckdb
import orjson

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.codes import OWN
from lms_crm_assets.checks.delivery_codes import delivery_code
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.domain import CrmObject, LmsEntity, RuleSeverity
from lms_crm_assets.masking import masked, safe_key, shortened
from lms_crm_assets.staging.tables import PERSONAL_COLUMNS
from lms_crm_assets.warehouse.sql import literal, table_exists

_FETCHED_ROWS = 1000


class Layer(StrEnum):
    """Where something is refused, in the order of its way; docs/error-codes.md has the codes of each."""

    SCHEMA = "schema"
    BUSINESS = "business"
    DESTINATION = "destination"
    DELIVERY = "delivery"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row or record and one reason. Holds learner data.

    `kind` is the LMS's entity, or the CRM's object; `severity` is `warn` of what was let through. `crm_code` is the CRM's
    own word, at delivery alone. `row` has the canonical columns as they were read; at delivery the CRM's message, what was
    tried, and whether it is a dead letter.
    """

    layer: Layer
    kind: str
    source_id: str | None
    code: str
    rule: str
    column: str | None
    value: str | None
    meaning: str
    remedy: str
    severity: str
    attempts: int | None
    first_seen_at: datetime
    last_seen_at: datetime
    crm_code: str | None
    row: dict[str, Any] | None


@dataclass(frozen=True)
class Wanted:
    """Which refusals: None is any. `code` is ours or the CRM's own; with `warnings` also what was let through."""

    layer: Layer | None = None
    kind: str | None = None
    code: str | None = None
    warnings: bool = False


_KINDS: Mapping[Layer, Sequence[str]] = {
    Layer.SCHEMA: list(LmsEntity),
    Layer.BUSINESS: list(LmsEntity),
    Layer.DESTINATION: list(CrmObject),
    Layer.DELIVERY: list(CrmObject),
}
KINDS: Sequence[str] = [*LmsEntity, *CrmObject]
"""What can be refused: rows of an entity of the LMS, records of an object of the CRM."""

# The tables with what they lack in a warehouse that was made by an older version, and what they say.
_AGE = "attempts, first_seen_at, last_seen_at"
_ROWS = (
    'SELECT entity, source_id, code, rule, "column", "value", {severity}, ' + _AGE + ', NULL::VARCHAR, "row"'
    " FROM (FROM {table} UNION ALL BY NAME"
    ' SELECT NULL::INTEGER AS attempts, NULL::JSON AS "row" WHERE false)'
    " WHERE starts_with(code, {prefix}) AND ($kind IS NULL OR entity = $kind) AND ($code IS NULL OR code = $code)"
)
_RECORDS = (
    "SELECT object, external_id, code, NULL::VARCHAR, field, value, severity, " + _AGE + ", NULL::VARCHAR, NULL::JSON"
    " FROM delta.refused WHERE ($kind IS NULL OR object = $kind) AND ($code IS NULL OR code = $code)"
    " AND (severity = 'error' OR $warnings)"
)
_ANSWERS = (
    "SELECT object, external_id, message, NULL::VARCHAR, NULL::VARCHAR, NULL::VARCHAR, 'error', attempts,"
    " first_rejected_at, last_rejected_at, code, to_json({{'operation': operation, 'message': message,"
    " 'dead_letter': attempts >= {most}}}) FROM sync.rejections WHERE $kind IS NULL OR object = $kind"
)


def refusals(con: duckdb.DuckDBPyConnection, contract: Contract, wanted: Wanted | None = None) -> Iterator[Refusal]:
    """What is refused, layer by layer, as the tables have it. The connection is taken until the last one was read."""
    wanted = wanted or Wanted()
    # Not sorted: rows can be large, and many. This alone makes the order the same each time.
    con.execute("SET preserve_insertion_order = true")
    for layer in Layer:
        if wanted.layer in (None, layer) and (wanted.kind is None or wanted.kind in _KINDS[layer]):
            yield from _of_layer(con, contract, layer, wanted)


def shown(refusal: Refusal, contract: Contract) -> Refusal:
    """The same for a screen: personal values masked, long ones shortened, and no whole row."""
    value = refusal.value
    if value is not None:
        value = masked(value) if _is_personal(refusal, contract) else shortened(safe_key(value))
    return replace(refusal, source_id=safe_key(refusal.source_id), value=value, row=None)


def _of_layer(con: duckdb.DuckDBPyConnection, contract: Contract, layer: Layer, wanted: Wanted) -> Iterator[Refusal]:
    own = {rule.name: rule for rule in contract.checks.own}
    for query, parameters in _queries(con, contract, layer, wanted):
        con.execute(query, parameters)
        while rows := con.fetchmany(_FETCHED_ROWS):
            for kind, source_id, code, rule, column, value, severity, attempts, first, last, crm_code, row in rows:
                # Of an answer the CRM's message stands in the place of the code, to tell which one it is.
                known = delivery_code(crm_code, code) if layer is Layer.DELIVERY else CATALOGUE[code]
                if layer is Layer.DELIVERY and wanted.code not in (None, known.code, crm_code):
                    continue
                told = own.get(rule) if known.code == OWN.code else None
                yield Refusal(
                    layer, kind, source_id, known.code, rule or known.rule, column, value,
                    (told and told.meaning) or known.meaning, (told and told.remedy) or known.remedy,
                    severity, attempts, first, last, crm_code, orjson.loads(row) if row else None,
                )  # fmt: skip


def _queries(
    con: duckdb.DuckDBPyConnection, contract: Contract, layer: Layer, wanted: Wanted
) -> Iterator[tuple[str, dict[str, object]]]:
    parameters: dict[str, object] = {"kind": wanted.kind}
    if layer is Layer.DELIVERY:
        yield _ANSWERS.format(most=int(contract.delivery.max_attempts)), parameters
        return
    parameters["code"] = wanted.code
    if layer is Layer.DESTINATION:
        if table_exists(con, "delta", "refused"):
            yield _RECORDS, {**parameters, "warnings": wanted.warnings}
        return
    prefix = literal("LMS-1" if layer is Layer.SCHEMA else "LMS-2")
    tables = {"quarantine": RuleSeverity.ERROR}
    if wanted.warnings:
        tables["warnings"] = RuleSeverity.WARN
    for table, severity in tables.items():
        if table_exists(con, "staging", table):
            yield _ROWS.format(table=f"staging.{table}", severity=literal(severity), prefix=prefix), parameters


def _is_personal(refusal: Refusal, contract: Contract) -> bool:
    if refusal.layer in {Layer.SCHEMA, Layer.BUSINESS}:
        return refusal.column in PERSONAL_COLUMNS
    obj = CrmObject(refusal.kind)
    if obj not in contract.objects:
        return True
    field = object_spec(contract, obj).fields.get(refusal.column or "")
    return field is not None and field.pii
