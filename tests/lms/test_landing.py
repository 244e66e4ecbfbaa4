"""What lands is loaded whole or not at all, and absence counts only after a complete pull."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.lms.landing import Landed, Weighed, cursor, land, load, weigh
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


def page(*records: RawRecord, latest: datetime | None = None, total: int | None = None) -> Page:
    return Page(LEARNERS, list(records), latest, total)


def row(key: str, name: str = "x") -> RawRecord:
    return RawRecord(key, {"id": key, "name": name})


def loaded(
    con: duckdb.DuckDBPyConnection, found: Landed, *, complete: bool = True
) -> dict[str, tuple[str | None, bool]]:
    load(con, LEARNERS, found, observed_at=NOW, complete=complete)
    return held(con)


def held(con: duckdb.DuckDBPyConnection) -> dict[str, tuple[str | None, bool]]:
    rows = con.execute("SELECT source_id, payload->>'name', is_deleted FROM raw_lms.learners").fetchall()
    assert len({r[0] for r in rows}) == len(rows)
    return {key: (name, deleted) for key, name, deleted in rows}


def test_the_newest_line_of_a_key_wins(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    found = landed(tmp_path, page(row("1", "old"), row("2")), page(row("1", "new")))

    assert loaded(con, found) == {"1": ("new", False), "2": ("x", False)}


def test_a_row_that_is_nested_too_deep_keeps_its_key_and_stops_no_other(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]

    found = landed(tmp_path, page(RawRecord("1", {"name": deep}), row("2")))

    assert loaded(con, found) == {"1": (None, False), "2": ("x", False)}


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


def test_a_shrunken_source_is_not_believed_and_weighing_changes_nothing(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    before = loaded(con, landed(tmp_path, page(*(row(str(i)) for i in range(10)), latest=NOW)))

    weighed = weigh(con, LEARNERS, landed(tmp_path, page(row("1", "changed"))), max_shrink_share=0.5)

    assert weighed == Weighed(before=10, now=1, limit=0.5)
    assert (weighed.share, weighed.believable) == (0.9, False)
    assert held(con) == before
    assert cursor(con, [LEARNERS]) == NOW


def test_tombstones_and_repeated_lines_weigh_nothing(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    loaded(con, landed(tmp_path, page(row("1"), row("2"), row("3"))))
    loaded(con, landed(tmp_path, page(row("1"), row("2"))))
    pull = page(row("1"), row("1"), row("4"), RawRecord("4", None, is_deleted=True))

    weighed = weigh(con, LEARNERS, landed(tmp_path, pull), max_shrink_share=0.5)

    assert (weighed.before, weighed.now) == (2, 1)


@pytest.mark.parametrize(
    ("before", "now", "limit", "believable"),
    [
        (0, 0, 0.0, True),
        (0, 5, 0.0, True),
        (5, 9, 0.0, True),
        (10, 5, 0.5, True),
        (10, 4, 0.5, False),
        # Exactly at the limit, where 10 * (1 - 0.7) is more than 3.
        (10, 3, 0.7, True),
        (10, 0, 1.0, True),
        (1, 0, 0.5, False),
    ],
)
def test_a_loss_up_to_the_limit_is_believed(before: int, now: int, limit: float, *, believable: bool) -> None:
    assert Weighed(before, now, limit).believable is believable


def test_a_pull_that_is_short_of_its_own_total_is_to_be_repeated(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    found = landed(tmp_path, page(row("1"), row("1"), total=2))

    with pytest.raises(RetryableError, match="says it has 2 learners but gave 1 different ones"):
        weigh(con, LEARNERS, found, max_shrink_share=0.5)


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
