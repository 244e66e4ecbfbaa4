"""Who is who, for senders that tell no id."""

import duckdb

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints.found import By
from lms_crm_assets.warehouse.sql import table_exists


def learner_ids(con: duckdb.DuckDBPyConnection) -> dict[tuple[By, str], str]:
    """The learners' ids by username and by e-mail address, of those that a name or an address tells apart."""
    if not table_exists(con, "staging", LmsEntity.LEARNERS.staging_table):
        return {}
    found: dict[tuple[By, str], str] = {}
    by: By
    for by in ("username", "email"):
        query = (
            f"SELECT {by}, any_value(source_id) FROM staging.learner WHERE {by} IS NOT NULL"
            " GROUP BY 1 HAVING count(*) = 1"
        )
        found.update({(by, value): key for value, key in con.execute(query).fetchall()})
    return found
