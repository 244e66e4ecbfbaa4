"""What a first plan can't tell from the match key: contacts that the CRM has under their e-mail address, without the LMS's id.

A first run would make them a second time (Salesforce) or be refused them (HubSpot). The snapshot does not hold them, for it
reads what has the match key; so the CRM is asked by address, once, before anything was written, and for so many at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb
import structlog

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.domain import Action, FieldType
from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.warehouse.sql import literal, scalar

_log = structlog.get_logger(__name__)

# By 100 a call, as both CRMs take them: 20 calls, once in a tenant's life.
_MOST = 2_000
# The CRMs' own field: HubSpot reads by it, Salesforce has it in an index.
_EMAIL = "email"


@dataclass(frozen=True)
class ThereAlready:
    """So many addresses were asked for, and so many contacts have one of them and no id of the LMS."""

    asked: int
    found: int


def addresses_to_ask(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> list[str]:
    """E-mail addresses of the contacts that a first plan creates; none when something of them was written already."""
    field = _email_field(spec)
    if field is None or scalar(con, f"SELECT count(*) FROM sync.ledger WHERE object = {literal(spec.object)}"):
        return []
    rows = con.execute(
        f"SELECT DISTINCT list_filter(changes, lambda c: c.field = $1)[1].new AS address FROM delta.{spec.object}"
        f" WHERE action = '{Action.CREATE}' AND address IS NOT NULL ORDER BY address LIMIT {_MOST}",
        [field],
    ).fetchall()
    return [address for (address,) in rows]


def there_already(crm: CrmAdapter, spec: ObjectSpec, addresses: Sequence[str]) -> ThereAlready | None:
    """Ask the CRM for contacts with these addresses; None where there is nothing to ask, or no answer.

    It is advice: what is in its way is logged and stops no run.
    """
    field = _email_field(spec)
    if field is None or not addresses:
        return None
    key = FieldSpec(spec.match_key, frozenset(), FieldType.TEXT)
    by_address = replace(spec, match_key=field, fields={spec.match_key: key}, parents={})
    try:
        held = crm.read(by_address, addresses)
    except LmsCrmError as exc:
        # Its text may quote addresses.
        _log.warning("contacts_there_already_unknown", error=type(exc).__name__)
        return None
    return ThereAlready(len(addresses), len({each.crm_id for each in held if not each.values[spec.match_key]}))


def told(found: int, asked: int, match_key: str, crm: str) -> str:
    """The figure in words, with what to do."""
    of = f"of the first {asked:,} addresses " if asked == _MOST else ""
    return (
        f"{of}{found:,} {'contact' if found == 1 else 'contacts'} that {crm} has already share an e-mail address with a learner and"
        f" lack {match_key}: the run would make them a second time or be refused them. Write the LMS's ids into {match_key}"
        f" first: docs/{crm}.md#4-contacts-that-are-there-already"
    )


def _email_field(spec: ObjectSpec) -> str | None:
    found = (name for name, field in spec.fields.items() if field.columns == {_EMAIL} and name.lower() == _EMAIL)
    return next(found, None)
