"""What a CSV row asks for: its header's columns against the schema, its cells as values.

An empty cell is ignored, `#N/A` sets null; `Contact__r.LMS_User_Id__c` finds the parent by an external id (Bulk API
guide, Prepare CSV Files; Relationship Fields in a Header Row).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lms_crm_assets.sandbox.salesforce.dml import ParentKey, Row, not_writable
from lms_crm_assets.sandbox.salesforce.errors import JsonTypeError, RowError
from lms_crm_assets.sandbox.salesforce.schema import Field, Schema, SObject
from lms_crm_assets.sandbox.salesforce.values import Value, from_json

from .csv_text import JobFailedError
from .jobs import IngestJob

NULL = "#N/A"
# The guide says "true" and "false" without regard to case; 1 and 0 are taken by the platform too.
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

# Python's own reading would take 1_000 and infinity too.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a field, or a lookup that is found by its parent's `key`."""

    field: Field
    key: Field | None = None


def read_header(schema: Schema, job: IngestJob, names: Sequence[str]) -> list[Column]:
    """The columns; `JobFailedError` when one is no field, stands twice, or is no Id in a delete.

    The job's object and key are looked up again: the schema may have changed since the job was made.
    """
    sobject = schema.find(job.sobject.name)
    if sobject is None:  # text unverified
        raise JobFailedError(f"InvalidBatch : Unable to find object: {job.sobject.name}")
    job.sobject = sobject
    if job.key is not None:
        key = sobject.field(job.key.name)
        if key is None or not key.is_key:
            raise JobFailedError(f"InvalidBatch : Field name not found : {job.key.name}")
        job.key = key
    columns = [_column(schema, job.sobject, name) for name in names]
    twice = [name for name, times in Counter(name.lower() for name in names).items() if times > 1]
    if twice:  # text unverified
        raise JobFailedError(f"InvalidBatch : Duplicate column found : {twice[0]}")
    if job.operation == "delete" and [column.field.type for column in columns] != ["id"]:
        raise JobFailedError("InvalidBatch : The 'delete' batch must contain only ids")
    return columns


def read_cells(sobject: SObject, columns: Sequence[Column], cells: Sequence[str]) -> Row:
    """The row; what its fields can't hold is kept as its `error`."""
    row = Row(sobject)
    for column, cell in zip(columns, cells, strict=True):
        if not cell:
            continue
        try:
            _read_cell(row, column, cell)
        except RowError as error:
            row.error = row.error or error
    return row


def _column(schema: Schema, sobject: SObject, name: str) -> Column:
    relationship, dot, key_name = name.partition(".")
    if not dot:
        field = sobject.field(name)
        if field is not None:
            return Column(field)
    else:
        lookup = sobject.lookup(relationship)
        parent = schema.parent(lookup) if lookup is not None and lookup.writable else None
        key = None if parent is None else parent.field(key_name)
        if lookup is not None and key is not None and key.is_key:
            return Column(lookup, key)
    raise JobFailedError(f"InvalidBatch : Field name not found : {name}")


def _read_cell(row: Row, column: Column, cell: str) -> None:
    field = column.field
    if field.type == "id":
        row.id = cell
    elif not field.editable:
        raise not_writable([field.name])
    elif cell == NULL:
        row.values[field.name] = from_json(field, None)
    elif column.key is not None:
        row.parents.append(ParentKey(field, column.key, cell.strip()))
    else:
        row.values[field.name] = _value(field, cell)


def _value(field: Field, cell: str) -> Value:
    try:
        if field.type == "boolean":
            return from_json(field, _BOOLEANS[cell.strip().lower()])
        if field.type == "double":
            return from_json(field, float(cell if _NUMBER.fullmatch(cell.strip()) else "no number"))
        return from_json(field, cell)
    except (KeyError, ValueError, JsonTypeError):
        message = f"{field.label}: value not of required type: {cell}"
        raise RowError("INVALID_TYPE_ON_FIELD_IN_RECORD", message, [field.name]) from None
