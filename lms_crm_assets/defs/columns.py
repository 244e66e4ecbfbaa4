"""The tables behind the assets, for the UI: each column's type, meaning and lineage, and whether it is personal.

What depends on the tenant's contract is told by each materialization: the UI shows the columns of the tenant that ran last.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from lms_crm_assets.contract.meanings import meaning_of
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.defs.edge import key
from lms_crm_assets.delta.origins import Origin, key_origin, origins
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.snapshot.capture import parent_column
from lms_crm_assets.staging.tables import COLUMNS, PERSONAL_COLUMNS

_SCHEMA, _LINEAGE = "dagster/column_schema", "dagster/column_lineage"
_TEXT, _MOMENT = "VARCHAR", "TIMESTAMPTZ"
_OBSERVED = "When the LMS gave the row last."
_KEY, _CRM_ID = "The LMS's id, the value of the match key.", "The CRM's own id of the record."
_DELTA = {
    "external_id": (_TEXT, _KEY),
    "crm_id": (_TEXT, f"{_CRM_ID[:-1]}; null where it is to be created."),
    "action": (_TEXT, "`create`, `update`, `archive`, or `unchanged` where only an observed field differs."),
    "class": (_TEXT, "`ours`: the LMS changed; `drift`: others changed the CRM; `conflict`: both."),
    "parents": ("MAP(VARCHAR, VARCHAR)", "Parent → the `external_id` to link to."),
    "parents_before": ("MAP(VARCHAR, VARCHAR)", "Parent → the CRM id that is linked now."),
}


def raw_metadata(entity: LmsEntity) -> dict[str, Any]:
    """The table of what the LMS said."""
    columns = [
        _column("source_id", _TEXT, meaning_of(entity, "source_id")),
        _column("payload", "JSON", "The record as the LMS sent it, in JSON.", pii=True),
        _column("is_deleted", "BOOLEAN", "Whether the LMS said that the record is gone: a tombstone."),
        _column("observed_at", _MOMENT, _OBSERVED),
    ]
    return _table(f"raw_lms.{entity}", columns)


def staging_metadata(entity: LmsEntity) -> dict[str, Any]:
    """A canonical table."""
    kinds = {"source_id": _TEXT, **COLUMNS[entity]}
    columns = [_column(n, kind, meaning_of(entity, n), pii=n in PERSONAL_COLUMNS) for n, kind in kinds.items()]
    columns += [
        _column("source_updated_at", _MOMENT, "When the LMS says that it changed the record, where it does."),
        _column("observed_at", _MOMENT, _OBSERVED),
        _column("row_hash", "UBIGINT", "Another one means that a canonical column changed."),
    ]
    return _table(f"staging.{entity.staging_table}", columns)


def snapshot_metadata(contract: Contract, spec: ObjectSpec) -> dict[str, Any]:
    """The table of what the CRM holds, under the contract."""
    columns = [
        _column("external_id", _TEXT, f"`{spec.match_key}` of the CRM: the LMS's id."),
        _column("crm_id", _TEXT, _CRM_ID),
        *(_column(name, _TEXT, told, pii=spec.fields[name].pii) for name, told in _fields(contract, spec).items()),
        *(_column(parent_column(parent), _TEXT, f"CRM ids of the linked {parent} records.") for parent in spec.parents),
        _column("captured_at", _MOMENT, "When the record was read."),
        _column("fingerprint", "UBIGINT", "A hash of the values in normal form; equal ones agree."),
    ]
    return _table(f"crm_snapshot.{spec.object}", columns)


def delta_metadata(contract: Contract, spec: ObjectSpec) -> dict[str, Any]:
    """The table of differences; a CRM field stands in its column `changes`, and is shown as a column."""
    live = key("crm_snapshot", spec.object)
    columns = [
        *(_column(name, kind, told) for name, (kind, told) in _DELTA.items()),
        *(
            _column(name, f"changes: {spec.fields[name].type}", f"Old and new value. {told}", pii=spec.fields[name].pii)
            for name, told in _fields(contract, spec).items()
        ),
    ]
    lineage = {
        "external_id": [_staged(key_origin(spec.object))],
        "crm_id": [dg.TableColumnDep(live, "crm_id")],
        "parents": [_staged(key_origin(spec.object, parent)) for parent in spec.parents],
        "parents_before": [dg.TableColumnDep(live, parent_column(parent)) for parent in spec.parents],
        **{
            name: [*map(_staged, origins(spec.object, field.columns)), dg.TableColumnDep(live, name)]
            for name, field in spec.fields.items()
        },
    }
    return {**_table(f"delta.{spec.object}", columns), **_lineage(lineage)}


def sync_metadata(contract: Contract, spec: ObjectSpec) -> dict[str, Any]:
    """The CRM's own records, as the contract has them written."""
    delta = key("delta", spec.object)
    fields = spec.fields
    columns = [
        _column(spec.match_key, "text", "The match key: the LMS's id."),
        *(_column(n, fields[n].type.value, told, pii=fields[n].pii) for n, told in _fields(contract, spec).items()),
        *(_column(parent_column(p), "link", f"To the {p}, by `{of.relation}`.") for p, of in spec.parents.items()),
    ]
    lineage = {
        spec.match_key: [dg.TableColumnDep(delta, "external_id")],
        **{name: [dg.TableColumnDep(delta, name)] for name in fields},
        **{parent_column(parent): [dg.TableColumnDep(delta, "parents")] for parent in spec.parents},
    }
    return {**_table(spec.to, columns), **_lineage(lineage)}


def _fields(contract: Contract, spec: ObjectSpec) -> dict[str, str]:
    """Of each CRM field where its value comes from, and whose word counts."""
    return {
        name: (f"From `{field.source}`" if field.source is not None else f"Always `{field.value}`")
        + f"; owner `{field.owner}`."
        for name, field in contract.objects[spec.object].fields.items()
    }


def _staged(origin: Origin) -> dg.TableColumnDep:
    return dg.TableColumnDep(key("staging", origin.entity.staging_table), origin.column)


def _column(name: str, kind: str, told: str, *, pii: bool = False) -> dg.TableColumn:
    return dg.TableColumn(name, kind, description=told, tags={"pii": ""} if pii else None)


def _table(name: str, columns: Iterable[dg.TableColumn]) -> dict[str, Any]:
    return {"dagster/table_name": name, _SCHEMA: dg.TableSchema(list(columns))}


def _lineage(deps: Mapping[str, list[dg.TableColumnDep]]) -> dict[str, Any]:
    return {_LINEAGE: dg.TableColumnLineage({name: found for name, found in deps.items() if found})}
