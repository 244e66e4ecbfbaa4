"""A worn file gives its space back, once, and with every row that was left."""

from pathlib import Path

from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.rewriting import rewrite_if_worn
from lms_crm_assets.warehouse.sql import scalar


def test_a_file_is_written_anew_when_a_fifth_of_it_is_deleted(tmp_path: Path) -> None:
    file = tmp_path / "w.duckdb"
    with connect(file) as con:
        con.execute(
            "INSERT INTO sync.ledger SELECT 'course', 'c' || i, md5(i::VARCHAR), NULL, 'run', now() FROM range(200000) t(i)"
        )
        con.execute("DELETE FROM sync.ledger WHERE hash(external_id) % 20 = 0")
    assert rewrite_if_worn(file, worth_bytes=0) == 0

    with connect(file) as con:
        con.execute("DELETE FROM sync.ledger WHERE hash(external_id) % 20 < 10")
        left = scalar(con, "SELECT count(*) FROM sync.ledger")
    before = file.stat().st_size

    assert rewrite_if_worn(file) == 0, "so small a file is not worth it"
    assert rewrite_if_worn(file, worth_bytes=0) == before - file.stat().st_size > 0
    assert rewrite_if_worn(file, worth_bytes=0) == 0
    with connect(file) as con:
        assert scalar(con, "SELECT count(DISTINCT external_id) FROM sync.ledger") == left
