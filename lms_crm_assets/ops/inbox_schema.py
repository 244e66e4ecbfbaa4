"""The tables of the inbox and the SQL that moves events between their states, in the dialect of both stores.

`dedupe` is the delivery id as long as a repeat of it is the same event; see `Inbox.add`.
"""

from lms_crm_assets.ops.database import Schema

INBOX = Schema(
    "inbox",
    (
        """
CREATE TABLE IF NOT EXISTS inbox_events (
    number BIGINT PRIMARY KEY, tenant TEXT NOT NULL, side TEXT NOT NULL, delivery_id TEXT NOT NULL, dedupe TEXT NOT NULL,
    received_at DOUBLE PRECISION NOT NULL, state TEXT NOT NULL, attempts BIGINT NOT NULL,
    not_before DOUBLE PRECISION NOT NULL, leased_until DOUBLE PRECISION NOT NULL, settled_at DOUBLE PRECISION NOT NULL,
    note TEXT NOT NULL, content_type TEXT NOT NULL, digest BLOB NOT NULL, sealed BLOB NOT NULL,
    UNIQUE (tenant, side, dedupe)
);
CREATE INDEX IF NOT EXISTS inbox_to_do ON inbox_events (tenant, number) WHERE state IN ('pending', 'leased');
CREATE INDEX IF NOT EXISTS inbox_not_done ON inbox_events (tenant, state, received_at) WHERE state <> 'done';
CREATE INDEX IF NOT EXISTS inbox_settled ON inbox_events (settled_at) WHERE state = 'done';
CREATE TABLE IF NOT EXISTS inbox_numbers (name TEXT PRIMARY KEY, last BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS inbox_conflicts (tenant TEXT PRIMARY KEY, seen BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS inbox_probe (name TEXT PRIMARY KEY, filler BLOB NOT NULL);
""",
        """
DROP INDEX IF EXISTS inbox_not_done;
CREATE INDEX inbox_not_done ON inbox_events (tenant, state, received_at, not_before) WHERE state <> 'done';
""",
        "CREATE TABLE IF NOT EXISTS inbox_keys (name TEXT PRIMARY KEY, sealed BLOB NOT NULL);",
    ),
)
"""The tables."""

# A row of numbers of one transaction: with it, two writers of one Postgres take turns, and numbers are in commit order.
NUMBERS = """
INSERT INTO inbox_numbers (name, last) VALUES ('events', ?)
ON CONFLICT (name) DO UPDATE SET last = inbox_numbers.last + excluded.last RETURNING last
"""

HELD = """
SELECT tenant, side, dedupe, number, state, digest FROM inbox_events WHERE (tenant, side, dedupe) IN
"""


def inserting(rows: int) -> str:
    """SQL that adds so many new events. Nobody else adds meanwhile, see `NUMBERS`."""
    row = "(?, ?, ?, ?, ?, ?, 'pending', 0, 0, 0, 0, '', ?, ?, ?)"
    return f"""
INSERT INTO inbox_events (number, tenant, side, delivery_id, dedupe, received_at, state, attempts, not_before,
    leased_until, settled_at, note, content_type, digest, sealed)
VALUES {", ".join([row] * rows)}
"""


SUPERSEDE = "UPDATE inbox_events SET dedupe = delivery_id || '#' || CAST(number AS TEXT) WHERE number = ?"

CONFLICT = """
INSERT INTO inbox_conflicts (tenant, seen) VALUES (?, 1)
ON CONFLICT (tenant) DO UPDATE SET seen = inbox_conflicts.seen + 1
"""

WAITING = "SELECT COUNT(*) FROM inbox_events WHERE tenant = ? AND state <> 'done'"

_IS_DUE = "((state = 'pending' AND not_before <= ?) OR (state = 'leased' AND leased_until <= ?))"

COLUMNS = "number, tenant, side, delivery_id, received_at, state, attempts, not_before, note, content_type, sealed"

# The condition stands twice: in Postgres a second leaser waits for the first one's rows, and then asks the outer one.
LEASE = f"""
UPDATE inbox_events SET state = 'leased', attempts = attempts + 1, leased_until = ?
WHERE number IN (
    SELECT number FROM inbox_events
    WHERE tenant = ? AND state IN ('pending', 'leased') AND {_IS_DUE} ORDER BY number LIMIT ?
) AND {_IS_DUE}
RETURNING {COLUMNS}
"""

TENANTS_DUE = f"""
SELECT DISTINCT tenant FROM inbox_events WHERE state IN ('pending', 'leased') AND {_IS_DUE} ORDER BY tenant
"""

DEPTHS = """
SELECT tenant, state, COUNT(*), MIN(received_at), MIN(CASE WHEN not_before > received_at THEN not_before ELSE received_at END)
FROM inbox_events WHERE state <> 'done' GROUP BY tenant, state
"""

PURGE = """
DELETE FROM inbox_events WHERE number IN (
    SELECT number FROM inbox_events WHERE state = 'done' AND settled_at < ? LIMIT ?
) RETURNING number
"""

SETTLED = "FROM inbox_events WHERE tenant = ? AND state IN ('done', 'parked') AND settled_at < ?"

PROBE = """
INSERT INTO inbox_probe (name, filler) VALUES ('probe', ?) ON CONFLICT (name) DO UPDATE SET filler = excluded.filler
"""

# Which key a row is sealed with stands in its first bytes.
STALE = """
SELECT number, tenant, side, delivery_id, sealed FROM inbox_events
WHERE number > ? AND substr(sealed, 1, ?) <> ? ORDER BY number LIMIT ?
"""

DIGEST_KEY = "SELECT sealed FROM inbox_keys WHERE name = 'digest'"

KEEP_DIGEST_KEY = """
INSERT INTO inbox_keys (name, sealed) VALUES ('digest', ?) ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed
"""
