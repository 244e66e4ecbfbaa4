"""`Idempotency-Key`: a request that is repeated is answered as it was the first time (IETF draft, HTTP API WG).

A key belongs to a tenant and a route. It is claimed on the disk before anything is done, and the whole answer is on the
disk before it is sent. Works with `idempotency_keys` (`ops.answers`).

    (unknown) ──claim──▶ running ──finish──▶ finished ──24 h──▶ (unknown)
                          │   ▲
                          │   └── claim, after RUNNING_SECONDS: whoever ran it is gone
                          └──release──▶ (unknown)      nothing was done, and nothing is promised
"""

import hashlib
import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lms_crm_assets.ops.answers import KEPT_SECONDS
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.receiver.problems import Problem

RUNNING_SECONDS = 60.0
"""After so long a running request is taken for lost."""
_PURGED = 200
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: status, the headers that belong to the content, and the body's bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that is ours to run; `nonce` is the same for all attempts at one request, and for no other request."""

    scope: str
    key: str
    nonce: str
    owner: str


def checked_key(values: list[str]) -> str:
    """The one key among the values of the header; a `Problem` (400) when it is missing or malformed."""
    if not values:
        raise Problem(
            400,
            "this request needs an Idempotency-Key: a new UUID for each new request, the same one for each repeat",
            code="IDEMPOTENCY_KEY_MISSING",
        )
    key = values[0]
    # The draft has it as a quoted string; most clients send it bare.
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(values) > 1 or not _KEY.fullmatch(key) or '"' in key or "\\" in key:
        raise Problem(
            400,
            "the Idempotency-Key has to be one text of 1 to 255 visible ASCII characters",
            code="IDEMPOTENCY_KEY_MALFORMED",
        )
    return key


def fingerprint(content: bytes) -> str:
    """What has to be the same in a repeat."""
    return hashlib.sha256(content).hexdigest()


class IdempotencyKeys:
    """The keys of a state folder; several processes may use them at once."""

    def __init__(self, store: OperationalStore) -> None:
        self._store = store

    def claim(self, scope: str, key: str, content: str) -> Claim | Answer:
        """The right to run the request, or the answer that it got; `content` is its fingerprint.

        A `Problem`: 422 when the key was used for another content, 409 while the first request is running.
        """
        owner = secrets.token_hex(8)
        with self._store.transaction(durable=True) as run:
            now = self._store.clock()
            self._purge(run, now)
            mine = run(
                "INSERT INTO idempotency_keys (scope, key, fingerprint, nonce, owner, claimed_at)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (scope, key) DO NOTHING RETURNING nonce",
                (scope, key, content, owner, owner, now),
            )
            if mine:
                return Claim(scope, key, owner, owner)
            # In Postgres this waits for whoever claims the same key, and sees what they did.
            [(known, nonce, claimed_at, finished_at, status, headers, body)] = run(
                "UPDATE idempotency_keys SET scope = scope WHERE scope = ? AND key = ?"
                " RETURNING fingerprint, nonce, claimed_at, finished_at, status, headers, body",
                (scope, key),
            )
            if known != content:
                raise Problem(
                    422,
                    "this Idempotency-Key was used for another content: take a new key for a new request",
                    code="IDEMPOTENCY_KEY_REUSED",
                )
            if finished_at is not None:
                return Answer(status, orjson.loads(headers), zlib.decompress(bytes(body)))
            left = claimed_at + RUNNING_SECONDS - now
            # Claimed long after now it can only be when the clock was set back.
            if 0 < left <= 2 * RUNNING_SECONDS:
                raise Problem(
                    409,
                    "the request with this Idempotency-Key is still running",
                    code="IDEMPOTENCY_KEY_IN_USE",
                    headers={"Retry-After": "1"},
                )
            run(
                "UPDATE idempotency_keys SET owner = ?, claimed_at = ? WHERE scope = ? AND key = ?",
                (owner, now, scope, key),
            )
            return Claim(scope, key, nonce, owner)

    def finish(self, claim: Claim, answer: Answer) -> Answer:
        """Keep the answer; it is on the disk when this returns.

        Gives what has to be answered: the kept answer, where somebody who took this request for lost was quicker.
        """
        values = (
            self._store.clock(),
            answer.status,
            orjson.dumps(dict(answer.headers)).decode(),
            zlib.compress(answer.body),
            claim.scope,
            claim.key,
            claim.nonce,
        )
        with self._store.transaction(durable=True) as run:
            kept = run(
                "UPDATE idempotency_keys SET finished_at = ?, status = ?, headers = ?, body = ?"
                " WHERE scope = ? AND key = ? AND nonce = ? AND finished_at IS NULL RETURNING key",
                values,
            )
            if kept:
                return answer
            known = run(
                "SELECT status, headers, body FROM idempotency_keys WHERE scope = ? AND key = ? AND nonce = ?",
                (claim.scope, claim.key, claim.nonce),
            )
        return Answer(known[0][0], orjson.loads(known[0][1]), zlib.decompress(bytes(known[0][2]))) if known else answer

    def release(self, claim: Claim) -> None:
        """Forget a request of which nothing was done."""
        with self._store.transaction(durable=True) as run:
            run(
                "DELETE FROM idempotency_keys WHERE scope = ? AND key = ? AND owner = ? AND finished_at IS NULL",
                (claim.scope, claim.key, claim.owner),
            )

    def _purge(self, run: Any, now: float) -> None:
        """Forget a few of what is old enough: more of them than one request adds."""
        run(
            "DELETE FROM idempotency_keys WHERE (scope, key) IN (SELECT scope, key FROM idempotency_keys"
            " WHERE coalesce(finished_at, claimed_at) < ? LIMIT ?)",
            (now - KEPT_SECONDS, _PURGED),
        )
