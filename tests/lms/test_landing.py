"""What lands is loaded whole or not at all, and absence counts only after a complete pull."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import FatalError
from lms_crm_assets.lms.landing import Landed, cursor, land, load
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.warehouse.connection import connect

LEARNERS = LmsEntity.LEARNERS
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        yield found


def landed(tmp_path: Path, *pages: Page) -> Landed:
    return land(pages, [LEARNERS], tmp_path / "landing")


def page(*records: RawRecord, latest: datetime | None = None) -> Page:
    return Page(LEARNERS, list(records), latest)


def row(key: str, name: str = "x") -> RawRecord:
    return RawRecord(key, {"id": key, "name": name})


def loaded(
    con: duckdb.DuckDBPyConnection, found: Landed, *, complete: bool = True, max_shrink_share: float = 1.0
) -> dict[str, tuple[str | None, bool]]:
    load(con, LEARNERS, found, observed_at=NOW, complete=complete, max_shrink_share=max_shrink_share)
    rows = con.execute("SELECT source_id, payload->>'name', is_deleted FROM raw_lms.learners").fetchall()
    assert len({r[0] for r in rows}) == len(rows)
    return {key: (name, deleted) for key, name, deleted in rows}


def test_the_newest_line_of_a_key_wins(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    found = landed(tmp_path, page(row("1", "old"), row("2")), page(row("1", "new")))

    assert loaded(con, found) == {"1": ("new", False), "2": ("x", False)}


def test_a_complete_pull_turns_what_is_gone_into_tombstones(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    loaded(con, landed(tmp_path, page(row("1"), row("2"))))

    assert loaded(con, landed(tmp_path, page(row("2", "y")))) == {"1": ("x", True), "2": ("y", False)}


def test_an_incremental_pull_concludes_nothing_from_absence(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    loaded(con, landed(tmp_path, page(row("1"), row("2"), row("3"))))
    changes = page(row("2", "y"), RawRecord("3", None, is_deleted=True))

    assert loaded(con, landed(tmp_path, changes), complete=False) == {
        "1": ("x", False),
        "2": ("y", False),
        "3": ("x", True),
    }


def test_a_shrunken_source_is_not_believed(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    before = loaded(con, landed(tmp_path, page(*(row(str(i)) for i in range(10)))))

    with pytest.raises(FatalError, match="gave 1 learners where it had 10 before: not believed"):
        loaded(con, landed(tmp_path, page(row("1", "changed"))), max_shrink_share=0.5)

    assert loaded(con, landed(tmp_path), complete=False) == before


def test_the_cursor_is_the_newest_timestamp_and_moves_with_the_rows(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert cursor(con, [LEARNERS]) is None
    day = timedelta(days=1)
    loaded(con, landed(tmp_path, page(row("1"), latest=NOW - 3 * day), page(row("2"), latest=NOW - 2 * day)))
    assert cursor(con, [LEARNERS]) == NOW - 2 * day

    loaded(con, landed(tmp_path, page(row("1"), latest=NOW - day)), complete=False)
    assert cursor(con, [LEARNERS]) == NOW - day

    # A row that is stamped in the future does not blind the pulls until then.
    loaded(con, landed(tmp_path, page(row("1"), latest=NOW + 365 * day)), complete=False)
    assert cursor(con, [LEARNERS]) == NOW

    assert cursor(con, [LEARNERS, LmsEntity.COURSES]) is None


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xyz"), max_size=6)),
        min_size=1,
        max_size=5,
    )
)
def test_any_sequence_of_pulls_ends_as_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, pulls: list[tuple[bool, dict[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp("pulls")
    expected: dict[str, tuple[str | None, bool]] = {}
    with connect(folder / "w.duckdb") as con:
        for complete, rows in pulls:
            found = loaded(con, landed(folder, page(*(row(k, v) for k, v in rows.items()))), complete=complete)
            gone = {k: (v[0], True) for k, v in expected.items()} if complete else expected
            expected = {**gone, **{k: (v, False) for k, v in rows.items()}}
            assert found == expected
