"""Who is who, for senders that tell no id."""

from collections.abc import Collection, Mapping

import duckdb

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints.found import By
from lms_crm_assets.warehouse.sql import table_exists


def learner_ids(con: duckdb.DuckDBPyConnection, named: Collection[tuple[By, str]]) -> Mapping[tuple[By, str], str]:
    """The ids of the learners who are named by username or e-mail address, of those that it tells apart."""
    if not table_exists(con, "staging", LmsEntity.LEARNERS.staging_table):
        return {}
    found: dict[tuple[By, str], str] = {}
    by: By
    for by in ("username", "email"):
        query = (
            f"SELECT {by}, any_value(source_id) FROM staging.learner WHERE {by} IN (SELECT unnest($1::VARCHAR[]))"
            " GROUP BY 1 HAVING count(*) = 1"
        )
        values = [value for how, value in named if how == by]
        found.update({(by, value): key for value, key in con.execute(query, [values]).fetchall()})
    return found
