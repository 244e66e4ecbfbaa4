"""What lands is loaded whole or not at all, and absence counts only after a complete pull."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.lms.landing import Landed, Weighed, absent, cursor, land, land_more, load, refuse_short, weigh
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.rewriting import rewrite
from lms_crm_assets.warehouse.sql import literal, stores_zstd

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


def test_a_key_that_comes_again_in_another_file_is_what_came_last(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    before = [row(str(n), "x" * 1000) for n in range(6000)]
    found = landed(tmp_path, page(row("twice", "old"), gone("back"), *before), page(row("back"), row("twice", "new")))

    assert found.parts[LEARNERS] > 1
    held_now = loaded(con, found)
    assert (len(held_now), held_now["twice"], held_now["back"]) == (6002, ("new", False), ("x", False))
    assert {len(name or "") for key, (name, _) in held_now.items() if key.isdecimal()} == {1000}


def test_rows_of_any_kind_land_as_they_are(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    payloads = [{"a": [1, {"b": None}], "c": "\u2028 \n \\ \0 '\""}, "text", 7, 1.5, True, [], {}, [[None]], None]
    found = landed(tmp_path, page(*(RawRecord(f"'{n}\n\"", payload) for n, payload in enumerate(payloads))))

    load(con, LEARNERS, found, observed_at=NOW, complete=True)
    rows = con.execute("SELECT source_id, payload FROM raw_lms.learners ORDER BY ALL").fetchall()
    assert [(key, text and orjson.loads(text)) for key, text in rows] == [
        (f"'{n}\n\"", payload) for n, payload in enumerate(payloads)
    ]


def test_a_file_of_an_older_version_is_loaded_into_as_well_and_packed_when_it_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with duckdb.connect() as older:
        older.execute(f"ATTACH {literal(str(path))} (STORAGE_VERSION 'v1.0.0')")
    found = landed(tmp_path, page(row("1")))
    with connect(path) as con:
        assert not stores_zstd(con)
        assert loaded(con, found) == {"1": ("x", False)}

    rewrite(path)

    with connect(path) as con:
        assert stores_zstd(con)
        assert held(con) == {"1": ("x", False)}
        assert loaded(con, landed(tmp_path, page(row("2")))) == {"1": ("x", False), "2": ("x", False)}


def test_a_row_that_is_nested_too_deep_keeps_its_key_and_stops_no_other(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]

    found = landed(tmp_path, page(RawRecord("1", {"name": deep}), row("2")))

    assert loaded(con, found) == {"1": (None, False), "2": ("x", False)}


def gone(key: str) -> RawRecord:
    return RawRecord(key, None, is_deleted=True)


@pytest.mark.parametrize("complete", [True, False])
def test_absence_is_no_delete_and_what_the_lms_says_is_deleted_keeps_its_payload(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, *, complete: bool
) -> None:
    loaded(con, landed(tmp_path, page(row("1"), row("2"), row("3"))))

    found = landed(tmp_path, page(row("2", "y"), gone("3")))

    assert absent(con, LEARNERS, found) == ["1"]
    assert loaded(con, found, complete=complete) == {"1": ("x", False), "2": ("y", False), "3": ("x", True)}


def test_what_lands_later_counts_before_what_landed_first(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    loaded(con, landed(tmp_path, page(row("1"), row("2"))))
    found = landed(tmp_path, page(row("1")))

    land_more([page(gone("2"), row("1", "newer"))], found)

    assert loaded(con, found) == {"1": ("newer", False), "2": ("x", True)}


@pytest.mark.parametrize(
    ("rows", "letters"), [(3000, 20_000), (5, 3_000_000), (60_000, 2500), (1000, 100_000), (8, 2_000_000)]
)
def test_wide_rows_are_loaded_too(tmp_path: Path, rows: int, letters: int) -> None:
    pages = (
        page(*(row(str(n), "x" * letters) for n in range(start, min(start + 500, rows))))
        for start in range(0, rows, 500)
    )
    found = land(pages, [LEARNERS], tmp_path / "landing")

    with connect(tmp_path / "w.duckdb", found.settings()) as con:
        load(con, LEARNERS, found, observed_at=NOW, complete=True)
        assert con.execute("SELECT count(*), min(len(payload->>'name')) FROM raw_lms.learners").fetchall() == [
            (rows, letters)
        ]


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
    loaded(con, landed(tmp_path, page(row("1"), row("2"), gone("3"))))
    pull = page(row("1"), row("1"), row("4"), gone("4"))

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
        refuse_short(con, LEARNERS, found)


def test_of_what_hangs_on_learners_the_last_few_may_go() -> None:
    assert Weighed(10, 0, 0.5, floor=10).believable
    assert not Weighed(11, 0, 0.5, floor=10).believable


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

    # An entity that was never loaded has to be pulled whole; one without any stamp counts from its first pull on.
    both = [LEARNERS, LmsEntity.COURSES]
    assert cursor(con, both) is None
    unstamped = land([Page(LmsEntity.COURSES, [row("c")])], [LmsEntity.COURSES], tmp_path / "courses")
    load(con, LmsEntity.COURSES, unstamped, observed_at=NOW - 7 * day, complete=True)
    assert cursor(con, both) == NOW - 7 * day


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.booleans(), st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["x", "y", None]), max_size=6)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_sequence_of_pulls_ends_as_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, pulls: list[tuple[bool, dict[str, str | None]]]
) -> None:
    folder = tmp_path_factory.mktemp("pulls")
    expected: dict[str, tuple[str | None, bool]] = {}
    with connect(folder / "w.duckdb") as con:
        for complete, rows in pulls:
            records = [gone(k) if name is None else row(k, name) for k, name in rows.items()]
            found = loaded(con, landed(folder, page(*records)), complete=complete)
            for k, name in rows.items():
                expected[k] = (expected.get(k, (None,))[0], True) if name is None else (name, False)
            assert found == expected
