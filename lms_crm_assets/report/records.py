"""Some of the refused records for a report, with learner data masked as in the samples of checks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import duckdb

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.masking import safe_key, shortened
from lms_crm_assets.refusals import Layer, Refusal, Wanted, refusals, shown
from lms_crm_assets.report.facts import CRM, SCHEMA, RefusedFacts, RunFacts

SHOWN_A_REASON, SHOWN_IN_ALL = 20, 100
"""So many records are shown of each reason and kind, and of all."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record that is refused: its key in the LMS, and what is wrong where. Masked."""

    code: str
    kind: str
    key: str
    column: str
    value: str
    since: datetime
    attempts: int | None


def refused_records(con: duckdb.DuckDBPyConnection, contract: Contract, facts: RunFacts) -> list[Record]:
    """Some of what the run refused and still is, of each reason some. Of learners who were forgotten nothing is left to show."""
    found = [
        _record(each, contract)
        for reason in facts.refused
        for each in islice(_of(con, contract, reason, facts.ended_at), SHOWN_A_REASON)
    ]
    return found[:SHOWN_IN_ALL]


def _of(con: duckdb.DuckDBPyConnection, contract: Contract, reason: RefusedFacts, until: datetime) -> Iterator[Refusal]:
    for layer in _layers(reason):
        for each in refusals(con, contract, Wanted(layer, reason.kind, reason.code)):
            # Of several rules of the tenant's own each is a reason.
            if each.first_seen_at <= until and reason.rule in {each.rule, ""} and _same_word(reason, each):
                yield each


def _same_word(reason: RefusedFacts, each: Refusal) -> bool:
    return reason.crm_code in {"", each.crm_code}


def _layers(reason: RefusedFacts) -> Sequence[Layer]:
    if reason.by == CRM:
        return [Layer.DELIVERY]
    if reason.by == SCHEMA:
        return [Layer.DESTINATION]
    return [Layer.SCHEMA if reason.code.startswith("LMS-1") else Layer.BUSINESS]


def _record(refusal: Refusal, contract: Contract) -> Record:
    told = shown(refusal, contract)
    value = told.value
    if refusal.value is not None and not contract.checks.mask_samples:
        value = shortened(safe_key(refusal.value))
    return Record(
        told.code,
        told.kind.removesuffix("s"),
        told.source_id or "",
        told.column or "",
        value or "",
        told.first_seen_at,
        told.attempts,
    )
