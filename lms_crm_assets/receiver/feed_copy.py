"""Reading a tenant's warehouse from its published copy."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import duckdb

from lms_crm_assets.errors import RetryableError
from lms_crm_assets.receiver.problems import Problem
from lms_crm_assets.warehouse.published import Published
from lms_crm_assets.warehouse.sql import scalar, table_exists


@contextmanager
def copy_of(published: Published, tenant: str) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """The tenant's copy; None before its first run. A `Problem` (503) when it can't be had now."""
    try:
        con = published.connection(tenant)
    except (RetryableError, duckdb.IOException, OSError):
        raise Problem(
            503, "there is no copy of the tenant's warehouse to read from now", headers={"Retry-After": "5"}
        ) from None
    if con is None:
        yield None
        return
    with closing(con):
        # A warehouse of an older version is made whole by its next run.
        begun = table_exists(con, "staging", "feed") and scalar(con, "SELECT count(*) FROM staging.feed") == 1
        yield con if begun else None
