"""What is refused at present as a feed: the rows and records in the order in which the warehouse learned of them."""

from typing import Any, NamedTuple

import duckdb

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.codes import OWN
from lms_crm_assets.checks.delivery_codes import delivery_code
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.warehouse.sql import table_exists

CHECK = "check"
"""The operation of a record that was not sent, for the CRM's schema says that it would be refused."""

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"

# Of a warehouse that was made by an older version, what it may lack.
_ROWS = """
SELECT
    first_seen_at AS moment,
    -- Two rules of a tenant's own may blame one column.
    concat_ws(chr(31), 'lms', entity, source_id, code, "column", CASE WHEN code = 'LMS-299' THEN rule END) AS key,
    'lms' AS side, entity AS kind, source_id AS id, code, rule, "column", NULL::VARCHAR AS operation, attempts,
    first_seen_at AS first_at, NULL::VARCHAR AS message
FROM (FROM staging.quarantine UNION ALL BY NAME SELECT NULL::INTEGER AS attempts WHERE false)
"""
_RECORDS = """
SELECT
    first_seen_at, concat_ws(chr(31), 'crm', object, external_id, 'check', code, field), 'crm', object, external_id, code,
    NULL, field, 'check', attempts, first_seen_at, NULL
FROM delta.refused WHERE severity = 'error'
"""
_ANSWERS = """
SELECT
    coalesce(noted_at, last_rejected_at), concat_ws(chr(31), 'crm', object, external_id, operation), 'crm', object,
    external_id, code, NULL, NULL, operation, attempts, first_rejected_at, message
FROM (FROM sync.rejections UNION ALL BY NAME SELECT NULL::TIMESTAMPTZ AS noted_at WHERE false)
"""


class Refused(NamedTuple):
    """A line of the feed. `place` is its moment in microseconds and its key; `message` may quote learner data."""

    place: tuple[int, str]
    side: str
    kind: str
    id: str | None
    code: str | None
    rule: str | None
    column: str | None
    operation: str | None
    attempts: int | None
    message: str | None
    first_at: str
    noted_at: str


def listed(con: duckdb.DuckDBPyConnection, after: tuple[Any, ...], limit: int) -> list[Refused]:
    """The lines after a place. Within one moment they are in the order of their keys, for one run notes many."""
    parts = [_ROWS, _RECORDS, _ANSWERS] if table_exists(con, "delta", "refused") else [_ROWS, _ANSWERS]
    rows = con.execute(
        'SELECT epoch_us(moment), key, side, kind, id, code, rule, "column", operation, attempts, message,'
        f" strftime(first_at, '{_TIME}'), strftime(moment, '{_TIME}')"
        f" FROM ({' UNION ALL '.join(parts)}) WHERE (epoch_us(moment), key) > ($1, $2) ORDER BY 1, 2 LIMIT $3",
        [*after, limit],
    ).fetchall()
    return [Refused((row[0], row[1]), *row[2:]) for row in rows]


def told(line: Refused, contract: Contract) -> dict[str, Any]:
    """The line for the source: with our code and what to do, without the CRM's message."""
    answered = line.side == "crm" and line.operation != CHECK
    code = delivery_code(line.code, line.message) if answered else CATALOGUE[line.code or ""]
    own = {rule.name: rule.remedy for rule in contract.checks.own} if code.code == OWN.code else {}
    return {
        "side": line.side,
        "kind": line.kind,
        "id": line.id,
        "code": line.code,
        "catalogue_code": code.code,
        "rule": line.rule or code.rule,
        "column": line.column,
        "remedy": own.get(line.rule or "") or code.remedy,
        "operation": line.operation,
        "attempts": line.attempts,
        "dead_letter": answered and (line.attempts or 0) >= contract.delivery.max_attempts,
        "first_at": line.first_at,
        "noted_at": line.noted_at,
    }
