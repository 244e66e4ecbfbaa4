"""The events of many changes, in any order, bring the warehouse to where a full pull would."""

import random
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import pytest

from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints import Hints
from lms_crm_assets.lms.chunks import chunks
from lms_crm_assets.lms.landing import land, load
from lms_crm_assets.lms.protocol import LmsAdapter, Page
from lms_crm_assets.staging.build import build_staging
from lms_crm_assets.warehouse.connection import connect
from tests.hints import tenant
from tests.hints.test_fetched import EDITS, MOODLE_EDITS, SENT, differing, row_of
from tests.lms.contract.conftest import Lms
from tests.lms.contract.protocols import CANVAS, CHANGES, ONEROSTER, THINKIFIC
from tests.lms.moodle.site import Door
from tests.lms.moodle.site import adapter as moodle_adapter
from tests.lms.pulls import NOW, by_key

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES, COMPETENCIES = LmsEntity
RUNS = 3

Canonical = dict[str, list[tuple[Any, ...]]]


def loaded(
    file: Path, pages: Collection[Page], entities: Collection[LmsEntity], at: datetime, *, complete: bool
) -> None:
    """Bring pages into the warehouse."""
    found = land(pages, entities, file.parent / f"{file.stem}-{at:%f}")
    with connect(file) as con:
        for entity in entities:
            load(con, entity, found, observed_at=at, complete=complete)


def canonical(file: Path, adapter: str) -> Canonical:
    """All that staging makes of it, and how many rows are refused by which code."""
    with connect(file) as con:
        found = {}
        for entity in LmsEntity:
            build_staging(
                con,
                rules_for(ChecksPolicy(), entity),
                adapter=adapter,
                timezone="Europe/London",
                now=NOW + timedelta(days=1),
            )
            columns = "* EXCLUDE (observed_at)"
            found[str(entity)] = con.execute(
                f"SELECT {columns} FROM staging.{entity.staging_table} ORDER BY ALL"
            ).fetchall()
        codes = "SELECT code, count(*) FROM staging.quarantine GROUP BY ALL ORDER BY ALL"
        return {**found, "refused": con.execute(codes).fetchall()}


def brought_up_to_date(file: Path, adapter: LmsAdapter, events: list[Hints]) -> None:
    """Fetch what the events touch, some events at a time as they coalesce."""
    for n, some in enumerate(chunks(events, 1 + len(events) // RUNS), 1):
        asked: dict[LmsEntity, list[str]] = {}
        for entity, key in reduce(or_, some).lms:
            asked.setdefault(entity, []).append(key)
        pages = [page for entity, keys in asked.items() for page in adapter.fetch(entity, keys)]
        loaded(file, pages, list(asked), NOW + timedelta(milliseconds=n), complete=False)


def agree(folder: Path, adapter: LmsAdapter, name: str, before: list[Page], events: list[Hints]) -> None:
    """The events bring a warehouse of before to where a pull of now brings an empty one."""
    entities = list({page.entity for page in before})
    whole, file = folder / "whole.duckdb", folder / "by_events.duckdb"
    loaded(whole, list(adapter.pull(entities, None)), entities, NOW, complete=True)
    loaded(file, before, entities, NOW, complete=True)

    brought_up_to_date(file, adapter, random.Random(6).sample(events, len(events)))

    assert canonical(file, name) == canonical(whole, name)


@pytest.mark.parametrize("lms", [CHANGES, CANVAS, ONEROSTER, THINKIFIC], indirect=True, ids=list(SENT))
def test_events_in_any_order_end_where_a_pull_does(lms: Lms, tmp_path: Path) -> None:
    adapter = lms.adapter()
    entities = [entity for entity in LmsEntity if entity in adapter.capabilities.entities]
    before = list(adapter.pull(entities, None))
    for entity in entities:
        row = row_of(lms, entity)
        fields = {"proficient": not row["proficient"]} if entity is COMPETENCIES else EDITS[entity]
        lms.simulator.mutate({"object": entity, "op": "update", "id": row["id"], "fields": fields})
    gone = row_of(lms, ENROLLMENTS)
    lms.simulator.mutate({"object": ENROLLMENTS, "op": "delete", "id": gone["id"]})
    after = by_key(adapter.pull(entities, None))
    source = tenant.SOURCES[lms.protocol.name]
    events = [
        tenant.from_lms(source, body)
        for entity, key, row in differing(by_key(before), after)
        for body in SENT[lms.protocol.name](entity, key, row.payload)
    ]

    assert len(events) > len(entities)
    agree(tmp_path, adapter, lms.protocol.staged_by, before, events)


@pytest.mark.parametrize("reports", [None, {"participants": 1, "users": 2, "competencies": 3}])
def test_events_of_moodle_in_any_order_end_where_a_pull_does(door: Door, tmp_path: Path, reports: Any) -> None:
    source = tenant.MOODLE if reports is None else tenant.BY_REPORT
    with moodle_adapter(door, reports=reports) as adapter:
        # The simulated site has no competency reports of single people.
        before = list(adapter.pull(list(LmsEntity) if reports else list(LmsEntity)[:-1], None))
        # But the last: whom a site deletes it also takes out of every course, each with an event.
        for edit, _, _ in MOODLE_EDITS[:-1]:
            door.mutate(**{"op": "update", **edit})
        events = [tenant.from_lms(source, body) for _, body, _ in MOODLE_EDITS[:-1]]

        agree(tmp_path, adapter, "moodle", before, events)
