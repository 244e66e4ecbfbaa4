"""The connector API's kept answers: their table, how long they are kept, and taking them away.

`receiver.idempotency` works with them. The body is compressed JSON, which may quote a row's id. Owns `idempotency_keys`.
"""

import zlib
from collections.abc import Collection

from lms_crm_assets.ops import allowance
from lms_crm_assets.ops.store import OperationalStore, Schema

TABLES = """
CREATE TABLE IF NOT EXISTS idempotency_keys (
    scope TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, nonce TEXT NOT NULL, owner TEXT NOT NULL,
    claimed_at DOUBLE PRECISION NOT NULL, finished_at DOUBLE PRECISION, status BIGINT, headers TEXT, body BLOB,
    PRIMARY KEY (scope, key)
);
CREATE INDEX IF NOT EXISTS idempotency_age ON idempotency_keys ((coalesce(finished_at, claimed_at)));
"""

API = Schema("api", (allowance.TABLES + TABLES,))
"""What the API keeps: rates and idempotency keys."""

KEPT_SECONDS = 48 * 3600.0
"""How long a finished key is known; the promise is a day."""


def purge_answers(store: OperationalStore, *, dry_run: bool = False) -> int:
    """Forget the keys that are old enough; gives how many."""
    oldest = (store.clock() - KEPT_SECONDS,)
    where = "FROM idempotency_keys WHERE coalesce(finished_at, claimed_at) < ?"
    if dry_run:
        return int(store.read(f"SELECT COUNT(*) {where}", oldest)[0][0])
    with store.transaction(durable=True) as run:
        return len(run(f"DELETE {where} RETURNING key", oldest))


def erase_answers(store: OperationalStore, tenant: str, words: Collection[bytes], *, dry_run: bool = False) -> int:
    """Forget the tenant's answers that hold one of the words, in small letters; gives how many."""
    rows = store.read("SELECT scope, key, body FROM idempotency_keys WHERE body IS NOT NULL")
    named = [
        (scope, key)
        for scope, key, body in rows
        if scope.split(" ", 1)[0] == tenant and _mentions(zlib.decompress(bytes(body)), words)
    ]
    if named and not dry_run:
        with store.transaction(durable=True) as run:
            for scope, key in named:
                run("DELETE FROM idempotency_keys WHERE scope = ? AND key = ?", (scope, key))
    return len(named)


def _mentions(body: bytes, words: Collection[bytes]) -> bool:
    lowered = body.lower()
    return any(word in lowered for word in words)
