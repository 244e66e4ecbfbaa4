"""What was written is read back, and what is found wrong stays known until it is right."""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.domain import CrmObject, FieldType
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.snapshot.capture import ensure_snapshot
from lms_crm_assets.sync.convergence import Convergence, read_back
from lms_crm_assets.warehouse.connection import connect
from tests.sync.memory_crm import MemoryCrm

CONTACT = ObjectSpec(
    CrmObject.CONTACT, "Contact", "Key", {"Name": FieldSpec("family_name", frozenset(), FieldType.TEXT)}, {}
)


class Written:
    """A CRM, and a warehouse that says what runs wrote to it."""

    def __init__(self, con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.crm = MemoryCrm(by_upsert=True, tidy=True)
        self._con, self._folder = con, folder
        self._runs = 0
        ensure_snapshot(con, CONTACT)

    def run(self, lane: Lane, **held: str) -> Convergence:
        """A run that wrote to the records named, each of which should hold `right`, and read them back."""
        self._runs += 1
        plan_id, run_id = f"p{self._runs}", f"r{self._runs}"
        for key, value in held.items():
            record = self.crm.find(CrmObject.CONTACT, key) or self.crm.make(CrmObject.CONTACT, key)
            record.values["Name"] = value
            self._con.execute(
                "INSERT INTO delta.plan_rows VALUES ($1, 'contact', $2, NULL, 'update', 'ours', [{'field': 'Name',"
                " 'old': NULL, 'new': 'right', 'owner': 'enforce', 'written': true, 'class': 'ours'}], MAP {}, MAP {})",
                [plan_id, key],
            )
            self._con.execute(
                "INSERT INTO sync.outcomes VALUES ('contact', $1, 'upsert', 'update', 'succeeded', 'x', NULL, NULL, 'b', $2, $3)",
                [key, run_id, datetime.now(UTC)],
            )
        return read_back(self.crm, CONTACT, plan_id, run_id, lambda: nullcontext(self._con), self._folder, lane=lane)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    with connect(tmp_path / "w.duckdb") as con:
        yield Written(con, tmp_path)


def test_runs_of_events_tell_what_is_still_wrong_until_it_is_right(written: Written) -> None:
    found = written.run(Lane.FULL, a="right", b="wrong", c="wrong")
    assert ({row["external_id"] for row in found.differing}, found.standing) == ({"b", "c"}, 0)

    found = written.run(Lane.EVENTS, d="right")
    assert (found.differing, found.standing) == ([], 2)
    found = written.run(Lane.EVENTS, b="wrong")
    assert (len(found.differing), found.standing) == (1, 1)
    found = written.run(Lane.EVENTS, b="right")
    assert (found.differing, found.standing) == ([], 1)
    assert written.run(Lane.EVENTS).standing == 1


def test_a_full_run_that_need_not_write_a_record_knows_that_it_is_right(written: Written) -> None:
    written.run(Lane.EVENTS, a="wrong")

    assert written.run(Lane.FULL).standing == 0
    assert written.run(Lane.EVENTS).standing == 0
