"""What commands print of plans and of learners, with personal values masked; `--show-values` shows them."""

from collections.abc import Callable, Iterable
from typing import Any

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.masking import masked, safe_key
from lms_crm_assets.staging.tables import PERSONAL_COLUMNS

# Ids that a school gave its people, or by which they log in (canonical: `username`, `external_id`); without underscores.
_TELLING_IDS = frozenset({"loginid", "sisloginid", "sisuserid", "sispseudonymid", "integrationid", "externalid"})

MESSAGE = "(it may quote the record: --show-values)"
"""What stands in place of a CRM's message."""


def veiled_rows(rows: Iterable[dict[str, Any]], contract: Contract) -> list[dict[str, Any]]:
    """A plan's rows, as `delta.plan.plan_rows` gives them, for a screen or a log."""
    return [{**row, "changes": _changes(row["changes"], _personal(contract, row["object"]))} for row in rows]


def veiled_story(story: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """A learner's story, as `explain.explain` gives it, for a screen or a log."""
    records = []
    for record in story["records"]:
        personal = _personal(contract, record["object"])
        records.append(
            {
                **record,
                "raw": _raw(record["raw"]),
                "refused": [
                    {**each, "value": _value(each["value"], hide=each["column"] in PERSONAL_COLUMNS)}
                    for each in record["refused"]
                ],
                "withheld": [
                    {**each, "value": _value(each["value"], hide=personal(each["field"]))}
                    for each in record["withheld"]
                ],
                "planned": [{**each, "changes": _changes(each["changes"], personal)} for each in record["planned"]],
                "sent": [{**each, "message": each["message"] and MESSAGE} for each in record["sent"]],
                "applied": [
                    {
                        **each,
                        "values": {n: _value(v, hide=personal(n)) for n, v in each["values"].items()},
                    }
                    for each in record["applied"]
                ],
            }
        )
    return {**story, "raw": _raw(story["raw"]), "records": records}


def _personal(contract: Contract, obj: str) -> Callable[[str | None], bool]:
    """Whether a CRM field of an object holds learner data; of an object that isn't mapped any more each may."""
    fields = object_spec(contract, CrmObject(obj)).fields if CrmObject(obj) in contract.objects else {}
    return lambda name: name is not None and (name not in fields or fields[name].pii)


def _changes(changes: Iterable[dict[str, Any]], personal: Callable[[str | None], bool]) -> list[dict[str, Any]]:
    return [
        {**each, **{side: _value(each[side], hide=personal(each["field"])) for side in ("old", "new")}}
        for each in changes
    ]


def _value(value: Any, *, hide: bool) -> Any:
    if value is None or not isinstance(value, str):
        return value
    return masked(value) if hide else safe_key(value)


def _raw(raw: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if raw is None else {**raw, "payload": _masked(raw["payload"], "")}


def _masked(value: Any, name: str) -> Any:
    """Of what an LMS sends nobody knows which member tells who somebody is, but for the LMS's own ids."""
    if isinstance(value, dict):
        return {inner: _masked(each, inner) for inner, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, name) for each in value]
    if value is None or isinstance(value, bool):
        return value
    plain = name.lower().replace("_", "")
    if plain.endswith("id") and plain not in _TELLING_IDS:
        return safe_key(value) if isinstance(value, str) else value
    return masked(value) if isinstance(value, str) else "(a number)"
