"""The warehouse's file: threads of one process take turns, and nested openings of one thread share it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lms_crm_assets.warehouse.connection import connect


def test_threads_may_open_it_at_once(tmp_path: Path) -> None:
    file = tmp_path / "tenant.duckdb"

    def write(number: int) -> None:
        with connect(file) as con:
            con.execute("CREATE TABLE IF NOT EXISTS seen (n INTEGER)")
            con.execute("INSERT INTO seen VALUES ($1)", [number])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(200)))

    with connect(file) as con, connect(file) as again:
        assert con.execute("SELECT count(DISTINCT n) FROM seen").fetchall() == [(200,)]
        assert again.execute("SELECT count(*) FROM seen").fetchall() == [(200,)]
