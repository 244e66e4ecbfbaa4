"""Who is told by name or address alone is looked up, where that tells one person apart."""

from pathlib import Path

from lms_crm_assets.events.learners import learner_ids
from lms_crm_assets.hints.found import By
from lms_crm_assets.warehouse.connection import connect


def test_those_who_are_named_are_found_and_nobody_whom_two_could_be(tmp_path: Path) -> None:
    with connect(tmp_path / "w.duckdb") as con:
        assert learner_ids(con, {("username", "ada")}) == {}
        con.execute(
            "CREATE TABLE staging.learner AS FROM (VALUES ('1', 'ada', 'ada@school.test'), ('2', 'bob', 'twice@school.test'),"
            " ('3', NULL, 'twice@school.test')) AS learner(source_id, username, email)"
        )

        named: set[tuple[By, str]] = {
            ("username", "ada"),
            ("username", "nobody"),
            ("email", "twice@school.test"),
            ("email", "ada@school.test"),
        }
        found = learner_ids(con, named)

    assert found == {("username", "ada"): "1", ("email", "ada@school.test"): "1"}
