"""The operational store: small state that several processes share.

Owns the tables `pace` and `turns` (`pace`), `breakers` (`breaker`), `quotas` (`quota`), `credentials` (`vault`),
`latencies` (`latency`), `modes` (`modes`), `heartbeats` (`heartbeat`), `described` (`crm.salesforce.describe`), `alerts` and
`alert_messages` (`alerts.register`), `switches` (`switches`), `audit` (`audit`), `metrics` and `systems` (`metrics`), `reports` (`report.history`). They
lie in `ops.sqlite` in the state folder, or, where several machines work together, in the Postgres database that `LMS_CRM_STORE_URL` names.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lms_crm_assets import interrupt
from lms_crm_assets.errors import FatalError, RetryableError
from lms_crm_assets.ops.database import Database, Run, Schema
from lms_crm_assets.ops.sqlite import Sqlite

__all__ = ["OPS", "OperationalStore", "Run", "Schema"]

OPS = Schema(
    "ops",
    (
        """
CREATE TABLE IF NOT EXISTS pace (
    name TEXT PRIMARY KEY,
    told BIGINT, level DOUBLE PRECISION, level_at DOUBLE PRECISION, cut_at DOUBLE PRECISION, not_before DOUBLE PRECISION
);
CREATE TABLE IF NOT EXISTS turns (name TEXT, at DOUBLE PRECISION);
CREATE INDEX IF NOT EXISTS turns_by_name ON turns (name, at);
CREATE TABLE IF NOT EXISTS breakers (
    name TEXT PRIMARY KEY,
    failures BIGINT, opened_at DOUBLE PRECISION, closed_until DOUBLE PRECISION, pause DOUBLE PRECISION,
    probing_until DOUBLE PRECISION
);
CREATE TABLE IF NOT EXISTS quotas (name TEXT PRIMARY KEY, used BIGINT, allowed BIGINT, told_at DOUBLE PRECISION);
CREATE TABLE IF NOT EXISTS credentials (
    tenant TEXT, kind TEXT, sealed BLOB, saved_at DOUBLE PRECISION, PRIMARY KEY (tenant, kind)
);
CREATE TABLE IF NOT EXISTS described (
    name TEXT, object TEXT, modified TEXT, body BLOB, PRIMARY KEY (name, object)
);
CREATE TABLE IF NOT EXISTS latencies (name TEXT, at DOUBLE PRECISION, seconds DOUBLE PRECISION);
CREATE INDEX IF NOT EXISTS latencies_by_name ON latencies (name, at);
CREATE TABLE IF NOT EXISTS heartbeats (name TEXT PRIMARY KEY, at DOUBLE PRECISION);
CREATE TABLE IF NOT EXISTS modes (
    tenant TEXT PRIMARY KEY,
    switched BIGINT, reason TEXT, since DOUBLE PRECISION, looked_at DOUBLE PRECISION, good BIGINT
);
""",
        """
CREATE TABLE IF NOT EXISTS alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,
    told TEXT NOT NULL, todo TEXT NOT NULL, run_id TEXT NOT NULL, recovered_at DOUBLE PRECISION
);
CREATE INDEX IF NOT EXISTS alerts_by_tenant ON alerts (tenant, recovered_at);
CREATE TABLE IF NOT EXISTS alert_messages (
    alert BIGINT NOT NULL, channel TEXT NOT NULL, what TEXT NOT NULL,
    claimed_until DOUBLE PRECISION NOT NULL, sent_at DOUBLE PRECISION, tries BIGINT NOT NULL, trouble TEXT NOT NULL,
    PRIMARY KEY (alert, channel, what)
);
""",
        """
CREATE TABLE IF NOT EXISTS switches (
    tenant TEXT, name TEXT, value TEXT, set_by TEXT, reason TEXT, since DOUBLE PRECISION, PRIMARY KEY (tenant, name)
);
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at DOUBLE PRECISION, actor TEXT, action TEXT, tenant TEXT, subject TEXT, reason TEXT
);
CREATE INDEX IF NOT EXISTS audit_by_tenant ON audit (tenant, number);
""",
        "ALTER TABLE credentials ADD COLUMN expires_at DOUBLE PRECISION;",
        """
CREATE TABLE IF NOT EXISTS metrics (
    tenant TEXT, name TEXT, labels TEXT, value DOUBLE PRECISION, PRIMARY KEY (tenant, name, labels)
);
CREATE TABLE IF NOT EXISTS systems (tenant TEXT, side TEXT, kind TEXT, address TEXT, PRIMARY KEY (tenant, side));
""",
        """
CREATE TABLE IF NOT EXISTS reports (
    tenant TEXT, run_id TEXT, ended_at DOUBLE PRECISION, is_quiet BIGINT,
    disagreeing BIGINT, changed BIGINT, refused BIGINT, facts TEXT, PRIMARY KEY (tenant, run_id)
);
CREATE INDEX IF NOT EXISTS reports_by_end ON reports (tenant, ended_at);
""",
    ),
)
"""What is asked and answered: rates, breakers, quotas, kept tokens, descriptions."""

_LOOK_SECONDS = 0.1

_stores: dict[tuple[Path, str, str], "OperationalStore"] = {}
_opening = threading.Lock()


class OperationalStore:
    """One process's way to the store; its methods may be called from several threads.

    `clock` gives seconds since 1970, the same ones for all processes: those of the machine that holds the store. `folder`
    is the state folder, for what is this machine's own. Without a `url` the store is a SQLite file in that folder.
    """

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] | None = None,
        *,
        schema: Schema = OPS,
        url: SecretStr | None = None,
    ) -> None:
        self.folder = folder
        self._database = _database(folder, schema, url)
        self.clock = clock or self._common_clock

    @classmethod
    def at(cls, state_dir: Path, schema: Schema = OPS, environ: Mapping[str, str] = os.environ) -> "OperationalStore":
        """The process's one way to the store of a state folder, where the environment says it is."""
        folder, url = state_dir.resolve(), environ.get("LMS_CRM_STORE_URL", "").strip()
        key = (folder, schema.name, url)
        with _opening:
            if key not in _stores:
                try:
                    _stores[key] = cls(folder, schema=schema, url=SecretStr(url) if url else None)
                except OSError as exc:
                    raise FatalError(
                        f"the state folder {state_dir} can't be used ({exc.strerror}): set LMS_CRM_STATE_DIR to a folder that"
                        " this user may write, or mend its rights"
                    ) from exc
            return _stores[key]

    @staticmethod
    def is_made(state_dir: Path, environ: Mapping[str, str] = os.environ) -> bool:
        """Whether there is one that `at` would find, as far as this user can see; one in Postgres counts as made."""
        return bool(environ.get("LMS_CRM_STORE_URL", "").strip()) or os.access(
            state_dir / f"{OPS.name}.sqlite", os.F_OK
        )

    def transaction(self, *, on: str | None = None, durable: bool = False) -> AbstractContextManager[Run]:
        """A transaction beside which nobody else writes this schema; gives a function that runs SQL and returns the rows.

        A transaction `on` a name promises to touch nothing but the rows of that name (a system's, a tenant's): those on
        other names may run beside it. With `durable` it is on the disk when the block ends. `RetryableError` when the
        store can't be reached or stays locked; then nothing was written, unless the connection broke in the last step.
        """
        return self._database.transaction(on=on, durable=durable)

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self._database.read(sql, tuple(values))

    @contextmanager
    def alone(self, name: str, patience_seconds: float, busy: str) -> Iterator[None]:
        """Of all that share the store one at a time is inside, for as long as it takes; a process that dies lets go.

        For what goes on outside of the store, such as a call: no transaction waits for it. `RetryableError` with the text
        of `busy` when the others take longer than that.
        """
        until = time.monotonic() + patience_seconds
        with self._database.lock(name) as take:
            while not take():
                interrupt.check()
                if time.monotonic() >= until:
                    raise RetryableError(busy)
                time.sleep(_LOOK_SECONDS)
            yield

    def scrub(self) -> None:
        """Take the bytes of deleted rows off the disk: a SQLite file is written anew, in Postgres that is its vacuum's.

        `RetryableError` when another process reads for so long that its log can't be emptied.
        """
        self._database.scrub()

    def _common_clock(self) -> float:
        return time.time() + self._database.clock_ahead_seconds

    def close(self) -> None:
        """Give back what is held."""
        self._database.close()


def _database(folder: Path, schema: Schema, url: SecretStr | None) -> Database:
    if url is None:
        return Sqlite(folder, schema)
    # The driver takes a tenth of a second to load, which most commands don't need.
    from lms_crm_assets.ops.postgres import Postgres  # noqa: PLC0415

    return Postgres(url, schema)
