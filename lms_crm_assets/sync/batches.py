"""What is to be sent, spooled from the plan to a file so that the warehouse is closed while it is sent."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb
import orjson

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, Link
from lms_crm_assets.snapshot.capture import parent_column
from lms_crm_assets.warehouse.sql import literal, scalar


class Part(StrEnum):
    """Which of a plan's records: all of them, those that are sent first (see `canary`), or the others."""

    ALL = "all"
    CANARIES = "canaries"
    REST = "rest"


def spool_writes(
    con: duckdb.DuckDBPyConnection,
    spec: ObjectSpec,
    plan_id: str,
    file: Path,
    *,
    with_links: bool,
    part: Part = Part.ALL,
) -> int:
    """Write the plan's creates and updates to `file`, children of one parent together; gives their number.

    Records whose links alone changed are left out where links are made by calls of their own.
    """
    written = "list_filter(changes, lambda c: c.written)"
    kept = "true" if with_links else f"len({written}) > 0 OR action = 'create'"
    rows = f"FROM {_planned(spec, plan_id, part)} WHERE action IN ('create', 'update') AND ({kept})"
    order = ", ".join([f"parents[{literal(parent)}]" for parent in spec.parents] + ["external_id"])
    values = f"map(list_transform({written}, lambda c: c.field), list_transform({written}, lambda c: c.new))"
    con.execute(
        f"COPY (SELECT external_id, crm_id, action, to_json({values}) AS values, to_json(parents) AS parents {rows}"
        f" ORDER BY {order}) TO {literal(str(file))} (FORMAT JSON)"
    )
    return scalar(con, f"SELECT count(*) {rows}")


def spool_archives(
    con: duckdb.DuckDBPyConnection, spec: ObjectSpec, plan_id: str, file: Path, *, part: Part = Part.ALL
) -> int:
    """Write the plan's records to archive to `file`; gives their number."""
    rows = f"FROM {_planned(spec, plan_id, part)} WHERE action = 'archive'"
    con.execute(
        "COPY (SELECT external_id, crm_id, action, '{}'::JSON AS values, '{}'::JSON AS parents"
        f" {rows} ORDER BY external_id) TO {literal(str(file))} (FORMAT JSON)"
    )
    return scalar(con, f"SELECT count(*) {rows}")


def spool_links(
    con: duckdb.DuckDBPyConnection,
    spec: ObjectSpec,
    plan_id: str,
    parent: CrmObject,
    files: tuple[Path, Path],
    *,
    part: Part = Part.ALL,
) -> tuple[int, list[str]]:
    """Write the links to make to the first file and those to take away to the second; gives how many, and the records whose parent is not in the CRM."""
    column, key = parent_column(parent), literal(parent)
    links, unlinks = files
    wanted = (
        f"(SELECT d.external_id, d.parents[{key}] AS parent_id, s.crm_id AS from_crm_id, p.crm_id AS to_crm_id,"
        f" s.{column} AS linked FROM {_planned(spec, plan_id, part)} d JOIN crm_snapshot.{spec.object} s USING (external_id)"
        f" LEFT JOIN crm_snapshot.{parent} p ON p.external_id = d.parents[{key}] WHERE d.parents[{key}] IS NOT NULL)"
    )
    con.execute(
        f"COPY (SELECT external_id, parent_id, from_crm_id, to_crm_id FROM {wanted} WHERE to_crm_id IS NOT NULL"
        f" ORDER BY to_crm_id, external_id) TO {literal(str(links))} (FORMAT JSON)"
    )
    con.execute(
        "COPY (SELECT external_id, parent_id, from_crm_id, to_crm_id FROM (SELECT external_id, parent_id, from_crm_id,"
        f" to_crm_id AS kept, unnest(string_split(linked, ';')) AS to_crm_id FROM {wanted} WHERE to_crm_id IS NOT NULL)"
        f" WHERE to_crm_id <> kept) TO {literal(str(unlinks))} (FORMAT JSON)"
    )
    orphans = con.execute(f"SELECT external_id FROM {wanted} WHERE to_crm_id IS NULL").fetchall()
    return scalar(con, f"SELECT count(*) FROM {wanted}"), [row[0] for row in orphans]


def _planned(spec: ObjectSpec, plan_id: str, part: Part) -> str:
    ours = f"plan_id = {literal(plan_id)} AND object = {literal(spec.object)}"
    word = {Part.ALL: "", Part.CANARIES: "SEMI", Part.REST: "ANTI"}[part]
    chosen = f" {word} JOIN (SELECT external_id FROM sync.canaries WHERE {ours}) c USING (external_id)" if word else ""
    return f"(SELECT p.* FROM delta.plan_rows p{chosen} WHERE {ours})"


def write_batches(file: Path, size: int) -> Iterator[list[CrmWrite]]:
    """The spooled records in batches."""
    for rows in _batches(file, size):
        yield [CrmWrite(r["external_id"], r["crm_id"], Action(r["action"]), r["values"], r["parents"]) for r in rows]


def link_batches(file: Path, size: int) -> Iterator[list[Link]]:
    """The spooled links in batches."""
    for rows in _batches(file, size):
        yield [Link(**row) for row in rows]


def _batches(file: Path, size: int) -> Iterator[list[dict[str, Any]]]:
    """Rows by the `size`; keys that differ in case alone never share a batch, which many a CRM would refuse as a whole."""
    batch: list[dict[str, Any]] = []
    keys: set[str] = set()
    with file.open("rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            key = row["external_id"].casefold()
            if len(batch) == size or key in keys:
                yield batch
                batch, keys = [], set()
            batch.append(row)
            keys.add(key)
    if batch:
        yield batch
