"""The steps of a pull: what an adapter leaves unanswered is not taken for gone."""

from collections.abc import Collection, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.ingest import fetch_into
from lms_crm_assets.lms.landing import landing_folder
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.warehouse.connection import connect
from tests.lms.contract.warehouse import Warehouse

LEARNERS, COURSES = LmsEntity.LEARNERS, LmsEntity.COURSES


class Lms:
    """An LMS of learners; of those in `denied` a fetch says that they are gone, of others that aren't there nothing."""

    capabilities = Capabilities(frozenset({LEARNERS}))

    def __init__(self, *keys: str, denied: Collection[str] = ()) -> None:
        self._keys, self._denied = keys, denied

    def probe(self) -> list[str]:
        return []

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        del entities, since
        yield Page(LEARNERS, [RawRecord(key, {"id": key}) for key in self._keys])

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        yield Page(entity, [RawRecord(key, None, is_deleted=True) for key in keys if key in self._denied])

    def close(self) -> None:
        """Nothing is open."""


def test_a_row_that_is_neither_given_nor_denied_stays(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, [LEARNERS])
    warehouse.pull(Lms("1", "2", "3"))

    done = warehouse.pull(Lms("1", denied={"2"}), max_shrink_share=1.0)

    assert done.unanswered == {LEARNERS: 1}
    assert warehouse.living()[LEARNERS].keys() == {"1", "3"}
    assert warehouse.tombstones()[LEARNERS].keys() == {"2"}


def test_a_row_that_is_denied_becomes_a_tombstone(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, [LEARNERS])
    warehouse.pull(Lms("1", "2", "3"))

    done = warehouse.pull(Lms("1", "3", denied={"2"}))

    assert done.absent == {LEARNERS: ["2"]}
    assert warehouse.living()[LEARNERS].keys() == {"1", "3"}
    assert warehouse.tombstones()[LEARNERS] == {"2": {"id": "2"}}


class Changing(Lms):
    """It tells what changed, and serves courses too."""

    capabilities = Capabilities(frozenset({LEARNERS, COURSES}), supports_since=frozenset({LEARNERS, COURSES}))


def test_a_pull_without_a_moment_to_start_from_finds_what_was_deleted(tmp_path: Path) -> None:
    Warehouse(tmp_path, [LEARNERS]).pull(Lms("1", "2", "3"))
    warehouse = Warehouse(tmp_path, [LEARNERS, COURSES])

    # No course was ever loaded; after this pull nobody is told any more of what was deleted before it.
    done = warehouse.pull(Changing("1", "3", denied={"2"}), full=False)

    assert done.since is None
    assert warehouse.living()[LEARNERS].keys() == {"1", "3"}


def test_rows_that_are_asked_for_by_key_are_loaded_and_no_cursor_moves(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, [LEARNERS])
    warehouse.pull(Lms("1", "2"))
    before = warehouse.held()["cursors"]

    class Asked(Lms):
        def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
            del keys
            rows = [RawRecord("1", {"id": "1", "new": True}), RawRecord("3", {"id": "3"})]
            yield Page(entity, [*rows, RawRecord("2", None, is_deleted=True), RawRecord("9", None, is_deleted=True)])

    with landing_folder(tmp_path / "landing") as folder:
        fetched = fetch_into(
            partial(connect, warehouse.file), Asked(), folder, {LEARNERS: ["1", "2", "3", "9"], COURSES: ["1"]}
        )

    assert warehouse.living()[LEARNERS] == {"1": {"id": "1", "new": True}, "3": {"id": "3"}}
    assert warehouse.tombstones()[LEARNERS] == {"2": {"id": "2"}}
    # What the LMS doesn't show and we never had may be yet to come; courses this LMS does not have at all.
    assert fetched.unseen == {(LEARNERS, "9")}
    assert warehouse.held()["cursors"] == before


def test_rows_that_are_known_by_their_canonical_ids_are_asked_for_by_these(tmp_path: Path) -> None:
    """A report gives its rows under other ids than events tell; what it says of those is neither lost nor waited for."""
    warehouse = Warehouse(tmp_path, [LEARNERS])
    with connect(warehouse.file) as con:
        con.execute("CREATE TABLE staging.learner AS SELECT 'staged' AS source_id")
        con.execute("INSERT INTO staging.quarantine (entity, source_id) VALUES ('learners', 'refused')")

    class ByReport(Lms):
        def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
            gone = [RawRecord(key, {"userid": key}, is_deleted=True) for key in keys if key != "there"]
            yield Page(entity, [RawRecord("there:of:report", {"id": "there"}), *gone])

    with landing_folder(tmp_path / "landing") as folder:
        asked = {LEARNERS: ["staged", "refused", "there", "never"]}
        fetched = fetch_into(partial(connect, warehouse.file), ByReport(), folder, asked)

    assert warehouse.living()[LEARNERS].keys() == {"there:of:report"}
    assert warehouse.tombstones()[LEARNERS].keys() == {"staged", "refused"}
    assert fetched.unseen == {(LEARNERS, "never")}
