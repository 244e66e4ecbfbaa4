"""How a CRM differs from what was accepted, and since when."""

from dataclasses import dataclass
from datetime import date

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.discovery.changes import SchemaChange, compare
from lms_crm_assets.discovery.crm_schema import baseline, days_since_accepted, newest


@dataclass(frozen=True, slots=True)
class Standing:
    """A change that nobody accepted yet, and the first day since which every discovery told of it."""

    change: SchemaChange
    since: date

    @property
    def row(self) -> dict[str, str]:
        """The change as plain texts, with its first day."""
        return {**self.change.row, "since": f"{self.since}"}


def standing_changes(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> list[Standing]:
    """The changes of an object since its baseline, gravest first; none before its first discovery."""
    accepted, now = baseline(con, spec.object), newest(con, spec.object)
    if accepted is None or now is None or not (found := compare(accepted.schema, now.schema, spec)):
        return []
    since = {change.identity: now.at.date() for change in found}
    left = set(since)
    for day, schema in days_since_accepted(con, spec.object, accepted):
        left &= {change.identity for change in compare(accepted.schema, schema, spec)}
        if not left:
            break
        since |= dict.fromkeys(left, day)
    return [Standing(change, since[change.identity]) for change in found]
