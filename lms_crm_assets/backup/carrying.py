"""What a restore must not take back: it stays as the state that was set aside says.

A switch that a person set in the trouble that the restore is to end, a secret that was entered or a token that rotated since the
backup, the learners who were forgotten since, and what people did. Where the former store can't be read nothing is kept of it.
"""

from contextlib import closing
from pathlib import Path

import apsw

from lms_crm_assets.errors import LmsCrmError
from lms_crm_assets.ops.store import OPS, OperationalStore
from lms_crm_assets.ops.suppression import PRIVACY, VAULT_KIND

_UNREADABLE = (
    "The former operational store can't be read: switches, secrets that were entered or rotated, and learners who were"
    " forgotten since the backup are not kept."
)
_DEED = ("at", "actor", "action", "tenant", "subject", "reason")


def carry_over(former: Path, state_dir: Path) -> list[str]:
    """Bring it into the stores that were put back; gives in plain words what could not be, and has to be looked at."""
    if not (former / f"{OPS.name}.sqlite").exists():
        return []
    try:
        with closing(OperationalStore(former)) as then, closing(OperationalStore(state_dir)) as now:
            lost = _keys_that_differ(then, now)
            _switches(then, now)
            _credentials(then, now, lost)
            _deeds(then, now)
        if (former / f"{PRIVACY.name}.sqlite").exists():
            with (
                closing(OperationalStore(former, schema=PRIVACY)) as then,
                closing(OperationalStore(state_dir, schema=PRIVACY)) as now,
            ):
                _forgotten(then, now, lost)
    except (LmsCrmError, apsw.Error):
        return [_UNREADABLE]
    return [
        f"The list of {tenant}'s forgotten learners is the backup's: the former one has another key."
        for tenant in sorted(lost)
    ]


def _keys_that_differ(then: OperationalStore, now: OperationalStore) -> set[str]:
    """The tenants whose lists were made anew since the backup: the marks of one mean nothing under the key of the other."""
    query = "SELECT tenant, saved_at FROM credentials WHERE kind = ?"
    former, restored = (dict(store.read(query, (VAULT_KIND,))) for store in (then, now))
    return {tenant for tenant in former.keys() & restored.keys() if former[tenant] != restored[tenant]}


def _switches(then: OperationalStore, now: OperationalStore) -> None:
    """One that the backup alone has stays set, too: somebody clears it sooner than they undo a run."""
    rows = then.read("SELECT tenant, name, value, set_by, reason, since FROM switches")
    with now.transaction(durable=True) as run:
        for row in rows:
            run(
                "INSERT INTO switches (tenant, name, value, set_by, reason, since) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value, set_by = excluded.set_by,"
                " reason = excluded.reason, since = excluded.since",
                row,
            )


def _credentials(then: OperationalStore, now: OperationalStore, lost: set[str]) -> None:
    rows = then.read("SELECT tenant, kind, sealed, saved_at, expires_at FROM credentials")
    with now.transaction(durable=True) as run:
        for row in rows:
            if row[1] != VAULT_KIND or row[0] not in lost:
                run(
                    "INSERT INTO credentials (tenant, kind, sealed, saved_at, expires_at) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (tenant, kind) DO UPDATE SET sealed = excluded.sealed, saved_at = excluded.saved_at,"
                    " expires_at = excluded.expires_at WHERE excluded.saved_at >= credentials.saved_at",
                    row,
                )


def _deeds(then: OperationalStore, now: OperationalStore) -> None:
    query = f"SELECT {', '.join(_DEED)} FROM audit ORDER BY number"
    known = set(now.read(query))
    missing = [row for row in then.read(query) if row not in known]
    with now.transaction(durable=True) as run:
        for row in missing:
            run(f"INSERT INTO audit ({', '.join(_DEED)}) VALUES (?, ?, ?, ?, ?, ?)", row)


def _forgotten(then: OperationalStore, now: OperationalStore, lost: set[str]) -> None:
    rows = then.read("SELECT tenant, mark, person, since FROM forgotten")
    with now.transaction(durable=True) as run:
        for row in rows:
            if row[0] not in lost:
                run(
                    "INSERT INTO forgotten (tenant, mark, person, since) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (tenant, mark) DO NOTHING",
                    row,
                )
