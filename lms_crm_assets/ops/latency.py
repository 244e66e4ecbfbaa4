"""How quickly a system answers: its newest calls, as every process of the state folder saw them."""

from math import ceil

from lms_crm_assets.ops.store import OperationalStore

_KEPT_SECONDS = 600.0
_FEWEST = 5


def note(store: OperationalStore, name: str, seconds: float) -> None:
    """A call to the system `name` took so long, whatever came of it."""
    now = store.clock()
    with store.transaction(on=name) as run:
        run("INSERT INTO latencies (name, at, seconds) VALUES (?, ?, ?)", (name, now, seconds))
        run("DELETE FROM latencies WHERE name = ? AND at < ?", (name, now - _KEPT_SECONDS))


def p95_seconds(store: OperationalStore, name: str, window_seconds: float) -> float | None:
    """The 95th percentile of the calls of the newest window; None where there were too few to say."""
    found = store.read(
        "SELECT seconds FROM latencies WHERE name = ? AND at >= ? ORDER BY seconds",
        (name, store.clock() - window_seconds),
    )
    return float(found[ceil(len(found) * 0.95) - 1][0]) if len(found) >= _FEWEST else None
