"""What became of writes whose answer was lost: the CRM is asked, and its records are compared with what was sent."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.normal_form import normal_forms
from lms_crm_assets.crm.protocol import CrmAdapter, CrmRecord
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.snapshot.capture import land_records
from lms_crm_assets.warehouse.sql import literal, quoted

ParentIds = Callable[[CrmObject, Sequence[str]], Mapping[str, str]]
"""The CRM ids of parents by their external ids."""


def written_back(
    crm: CrmAdapter, spec: ObjectSpec, writes: Sequence[CrmWrite], parent_ids: ParentIds
) -> list[Outcome | None]:
    """The outcomes of writes that the CRM holds as they were sent, in order; None for the others."""
    # Where links are calls of their own, an upsert says nothing about them.
    asked = spec if crm.linker is None else replace(spec, parents={})
    found = {record.external_id: record for record in crm.read(asked, [write.external_id for write in writes])}
    held = _in_normal_form(asked, list(found.values()))
    ids = {
        parent: parent_ids(parent, sorted({w.parents[parent] for w in writes if parent in w.parents}))
        for parent in asked.parents
    }
    return [_judged(write, found.get(write.external_id), held.get(write.external_id, {}), ids) for write in writes]


def filled_meanwhile(crm: CrmAdapter, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome | None]:
    """An outcome for each write that must not be made again: somebody has filled a field that we only fill while empty.

    It has failed, and the next run plans anew what is left of it.
    """
    filling = spec.only_filled
    asked = [write.external_id for write in writes if filling & write.values.keys()]
    held = _in_normal_form(spec, crm.read(replace(spec, parents={}), asked)) if asked else {}

    def judged(write: CrmWrite) -> Outcome | None:
        theirs = held.get(write.external_id, {})
        if all(theirs.get(name) in {None, write.values[name]} for name in filling & write.values.keys()):
            return None
        why = "a field that is only filled while empty was filled by somebody else meanwhile"
        return Outcome(write.external_id, OutcomeStatus.FAILED, write.crm_id, "FILLED_MEANWHILE", why, Treatment.HOLD)

    return [judged(write) for write in writes]


def _judged(
    write: CrmWrite,
    record: CrmRecord | None,
    held: Mapping[str, str | None],
    ids: Mapping[CrmObject, Mapping[str, str]],
) -> Outcome | None:
    if write.action is Action.ARCHIVE:
        gone = record is None or record.crm_id != write.crm_id
        return Outcome(write.external_id, OutcomeStatus.SUCCEEDED, write.crm_id) if gone else None
    if record is None or any(held[name] != value for name, value in write.values.items()):
        return None
    for parent, known in ids.items():
        if parent in write.parents and record.parents.get(parent) != [known.get(write.parents[parent])]:
            return None
    return Outcome(write.external_id, OutcomeStatus.SUCCEEDED, record.crm_id)


def _in_normal_form(spec: ObjectSpec, records: Sequence[CrmRecord]) -> dict[str, dict[str, str | None]]:
    """The records' values by external id, as the delta compares them."""
    if not records:
        return {}
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in ["external_id", *spec.fields])
    with TemporaryDirectory() as folder, closing(duckdb.connect()) as con:
        file = Path(folder) / "records.ndjson"
        land_records([list(records)], file)
        con.execute("SET TimeZone = 'UTC'")
        rows = con.execute(
            f"SELECT external_id, {normal_forms(spec.fields)} FROM read_json({literal(str(file))},"
            f" format = 'newline_delimited', columns = {{{columns}}})"
        ).fetchall()
    return {row[0]: dict(zip(spec.fields, row[1:], strict=True)) for row in rows}
