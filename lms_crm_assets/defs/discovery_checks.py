"""The checks of the discovery: what they say, and how grave it is."""

from collections.abc import Iterable, Mapping
from datetime import date
from itertools import islice

import dagster as dg

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.acceptance import Finding, Severity, accept
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.crm.lifecycle import endings, nearing
from lms_crm_assets.defs.edge import TABLE_LIMIT, table
from lms_crm_assets.discovery.changes import Effect
from lms_crm_assets.discovery.likeness import Likeness
from lms_crm_assets.discovery.lms_changes import ShapeChange, StandingShape
from lms_crm_assets.discovery.standing import Standing
from lms_crm_assets.domain import CrmObject, LmsEntity

Row = dict[str, str | int | float | bool | None]

_TOLD = 5
_FINDING_COLUMNS = {
    "where": "The key of the contract",
    "severity": "error: has to be mended; warning: records may be refused; note: worth knowing",
    "stops": "Whether nothing is sent until it is mended; else single records are refused",
    "message": "What does not fit",
    "remedy": "What to do",
}
_CHANGE_COLUMNS = {
    "object": "The object of the contract",
    "field": "The CRM's field; empty where it is about the object",
    "change": "What happened",
    "before": "As it was accepted",
    "after": "As it is",
    "effect": "block: nothing is sent until it is mended; alert: single records are refused, or may be; note",
    "since": "The first day that told of it",
    "remedy": "What to do",
}
_SHAPE_COLUMNS = {"entity": "The table of raw_lms", "attribute": "The attribute, with those around it"} | {
    name: text for name, text in _CHANGE_COLUMNS.items() if name not in {"object", "field"}
}
_LACK_COLUMNS = {name: text for name, text in _CHANGE_COLUMNS.items() if name != "since"} | {
    "before": "As it is here",
    "after": "As it is there",
    "effect": "What it would do to this contract there",
}
_END_COLUMNS = {
    "what": "What ends",
    "on": "When; of a season its first day",
    "days": "Days until then",
    "source": "Who said so",
    "remedy": "What to do",
}


def fits_contract(
    tenant: str, specs: Mapping[CrmObject, ObjectSpec], schemas: Mapping[CrmObject, CrmSchema | None]
) -> dg.AssetCheckResult:
    """Whether the CRM as it was discovered can hold what the contract sends."""
    findings = [found for obj, schema in schemas.items() for found in accept(specs[obj], schema)]
    findings.sort(key=lambda each: (not each.blocks, list(Severity).index(each.severity)))
    stops = [each for each in findings if each.blocks]
    amiss = [each for each in findings if each.severity is not Severity.NOTE]
    if stops:
        told = f"nothing is sent before this is mended: {_some(each.text for each in stops)}"
    elif amiss:
        told = f"single records may be refused: {_some(each.text for each in amiss)}"
    else:
        told = "the CRM can hold what the contract sends."
    return dg.AssetCheckResult(
        check_name="fits_contract",
        passed=not amiss,
        severity=dg.AssetCheckSeverity.ERROR if stops else dg.AssetCheckSeverity.WARN,
        description=f"{tenant}: {told}",
        metadata={"findings": table([_finding(each) for each in findings], _FINDING_COLUMNS)} if findings else {},
    )


def as_accepted(tenant: str, standing: Mapping[CrmObject, list[Standing]]) -> dg.AssetCheckResult:
    """Whether the CRM is as a person accepted it; what merely came is no failure."""
    found = [(obj, each) for obj, changes in standing.items() for each in changes]
    grave = [(obj, each) for obj, each in found if each.change.effect is not Effect.NOTE]
    grave.sort(key=lambda pair: pair[1].change.effect is not Effect.BLOCK)
    told = _some(
        f"{obj}.{each.change.text}, {each.change.effect} since {each.since}, {each.change.remedy}"
        for obj, each in grave
    )
    rows = [{"object": obj.value, **each.row} for obj, each in found]
    return dg.AssetCheckResult(
        check_name="as_accepted",
        passed=not grave,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{tenant}: the CRM changed: {told} When it is meant to be so: lms-crm crm accept --tenant {tenant}"
        if grave
        else f"{tenant}: the CRM is as it was accepted{f', but for {len(found)} changes of no weight' if found else ''}.",
        metadata={"changes": table(rows[:TABLE_LIMIT], _CHANGE_COLUMNS)} if rows else {},
    )


def supported(contract: Contract, today: date) -> dg.AssetCheckResult:
    """Whether the API version of the contract has 90 days or more before it."""
    near = nearing(contract.destination, today)
    told = "; ".join(
        f"{each.what} {'ended' if each.on <= today else 'ends'} on {each.on} ({each.source}): {each.remedy}"
        for each in near
    )
    return dg.AssetCheckResult(
        check_name="supported",
        passed=not near,
        severity=dg.AssetCheckSeverity.ERROR
        if any(each.on <= today and not each.answers for each in near)
        else dg.AssetCheckSeverity.WARN,
        description=f"{contract.tenant}: {told or f'the API version {contract.destination.api_version} is supported.'}",
        metadata={
            "ends": table(
                [
                    {
                        "what": each.what,
                        "on": f"{each.on}",
                        "days": (each.on - today).days,
                        "source": each.source,
                        "remedy": each.remedy,
                    }
                    for each in endings(contract.destination)
                ],
                _END_COLUMNS,
            )
        }
        if endings(contract.destination)
        else {},
    )


def like_production(tenant: str, other: str | None, found: Likeness | None) -> dg.AssetCheckResult:
    """Whether the other tenant's CRM has what this one has."""
    if other is None or found is None:
        told = (
            "nothing to compare, checks.compare_schema_with is not set."
            if other is None
            else f"not compared with {other} yet."
        )
        return dg.AssetCheckResult(check_name="like_production", passed=True, description=f"{tenant}: {told}")
    lacks = [(obj, each) for obj, changes in found.lacks.items() for each in changes]
    grave = [(obj, each) for obj, each in lacks if each.effect is not Effect.NOTE]
    if found.trouble:
        told = f"can't be compared with {other}: {found.trouble}"
    elif grave:
        told = f"{other} is not as this CRM is: {_some(f'{obj}.{each.text}, {each.effect}' for obj, each in grave)}"
    else:
        told = f"{other} has all that the contract needs."
    rows = [{"object": obj.value, **each.row} for obj, each in lacks]
    return dg.AssetCheckResult(
        check_name="like_production",
        passed=not (grave or found.trouble),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{tenant}: {told}",
        metadata={
            "compared_at": f"{found.at:%Y-%m-%d %H:%M} UTC",
            **({"lacks": table(rows[:TABLE_LIMIT], _LACK_COLUMNS)} if rows else {}),
        },
    )


def attributes_as_accepted(tenant: str, standing: Mapping[LmsEntity, list[StandingShape]]) -> dg.AssetCheckResult:
    """Whether the LMS's records are as a person accepted them."""
    found = [(entity, each) for entity, changes in standing.items() for each in changes]
    grave = [(entity, each) for entity, each in found if each.change.effect is not Effect.NOTE]
    gone = any(each.change.change is ShapeChange.GONE for _, each in grave)
    told = _some(f"{entity}.{each.change.text} since {each.since}, {each.change.remedy}" for entity, each in grave)
    notes = _some(f"{entity}.{each.change.text}" for entity, each in found)
    rows = [{"entity": entity.value, **each.row} for entity, each in found]
    return dg.AssetCheckResult(
        check_name="as_accepted",
        passed=not grave,
        severity=dg.AssetCheckSeverity.ERROR if gone else dg.AssetCheckSeverity.WARN,
        description=f"{tenant}: the LMS's records changed: {told} When it is meant to be so: lms-crm crm accept --tenant {tenant}"
        if grave
        else f"{tenant}: the LMS's records are as they were accepted{f', but for {notes}' if found else '.'}",
        metadata={"changes": table(rows[:TABLE_LIMIT], _SHAPE_COLUMNS)} if rows else {},
    )


def _finding(found: Finding) -> Row:
    return {
        "where": ".".join(found.path),
        "severity": found.severity.value,
        "stops": found.blocks,
        "message": found.message,
        "remedy": found.remedy,
    }


def _some(lines: Iterable[str]) -> str:
    """The first few as sentences, and how many more there are."""
    every = iter(lines)
    told = "; ".join(islice(every, _TOLD))
    more = sum(1 for _ in every)
    return f"{told}{f'; and {more} more' if more else ''}."
