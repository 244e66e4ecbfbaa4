"""Reading very many records by a Bulk API 2.0 query job; the values come out as a REST query would give them."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from simple_salesforce.api import Salesforce

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.crm.protocol import CrmRecord
from lms_crm_assets.crm.salesforce.answers import UnreadableError
from lms_crm_assets.crm.salesforce.bulk_csv import read_rows
from lms_crm_assets.crm.salesforce.jobs import ended, job_of
from lms_crm_assets.crm.salesforce.org import Org, download
from lms_crm_assets.crm.salesforce.records import select_all
from lms_crm_assets.errors import LmsCrmError, ProtocolError, RetryableError

_JOBS = "jobs/query"
# A page is one file and one call: some ten MB.
_ROWS_A_PAGE = 50_000
_RECORDS_AT_ONCE = 2000
_NO_MORE = "null"

Read = Callable[[str], Any]
"""Gives the JSON value of a cell that is not empty."""


def bulk_snapshot(org: Org, spec: ObjectSpec, schema: CrmSchema) -> Iterator[list[CrmRecord]]:
    """Every record that has the match key, with the fields of the spec; `schema` tells their types."""
    wanted = {"operation": "query", "query": select_all(spec)}
    # A job that was made and lost costs nothing but the work on it.
    job_id = org.read(lambda sf: job_of(sf, "POST", _JOBS, json=wanted), spec)["id"]
    path = f"{_JOBS}/{job_id}"
    try:
        job = ended(org, path, spec)
    except BaseException:
        with suppress(LmsCrmError):
            org.call(lambda sf: job_of(sf, "PATCH", path, json={"state": "Aborted"}))
        raise
    if job["state"] != "JobComplete":
        # Its error message quotes the query at most, but nobody promises that.
        raise RetryableError(f"Salesforce at {org.url} ended the query {path} as {job['state']}")
    reads = _reads(spec, schema)
    with tempfile.TemporaryDirectory(prefix="lms-crm-bulk-query-") as folder:
        for file in _pages(org, path, spec, Path(folder) / "page.csv"):
            records = (_record(spec, reads, row) for row in read_rows(file, {spec.match_key}))
            while page := list(islice(records, _RECORDS_AT_ONCE)):
                yield page


def _pages(org: Org, path: str, spec: ObjectSpec, file: Path) -> Iterator[Path]:
    """The pages of the result, each in `file` until the next is asked for."""
    locator, seen = "", {_NO_MORE, ""}

    def fetch(sf: Salesforce) -> str:
        headers = download(
            sf, f"{path}/results?maxRecords={_ROWS_A_PAGE}" + (f"&locator={locator}" if locator else ""), file
        )
        if str(sum(1 for _ in read_rows(file, {spec.match_key}))) != headers.get("Sforce-NumberOfRecords"):
            raise UnreadableError
        return headers.get("Sforce-Locator", _NO_MORE)

    while True:
        following = org.read(fetch, spec)
        yield file
        if following in {_NO_MORE, ""}:
            return
        if following in seen:
            raise ProtocolError(f"Salesforce at {org.url} gives the same page of {path} again and again")
        seen.add(following)
        locator = following


def _record(spec: ObjectSpec, reads: Mapping[str, Read], row: Mapping[str, str]) -> CrmRecord:
    try:
        parents = {
            parent: [row[f"{of.relation}.Id"]] if row[f"{of.relation}.Id"] else []
            for parent, of in spec.parents.items()
        }
        values = {name: reads[name](row[name]) if row[name] else None for name in spec.fields}
        return CrmRecord(row[spec.match_key], row["Id"], values, parents)
    except (KeyError, ValueError):  # its text may quote a learner
        raise ProtocolError(f"{spec.to} has values that its description rules out, or lacks a column") from None


def _reads(spec: ObjectSpec, schema: CrmSchema) -> dict[str, Read]:
    """How each field's cells are read."""
    known = {name.lower(): field for name, field in schema.fields.items()}
    return {name: _read_as(known.get(name.lower())) for name in spec.fields}


def _read_as(field: CrmField | None) -> Read:
    match field:
        case CrmField(kind=Kind.BOOLEAN):
            return lambda text: text == "true"
        case CrmField(kind=Kind.NUMBER, type="int" | "long"):
            return int
        case CrmField(kind=Kind.NUMBER):
            return float
        case CrmField(kind=Kind.DATETIME):
            # 2026-11-22T22:50:00.000Z here, 2026-11-22T22:50:00.000+0000 in JSON.
            return lambda text: text.removesuffix("Z") + "+0000" if text.endswith("Z") else text
        case _:
            return str
