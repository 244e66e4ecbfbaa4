"""Who is at work: long-lived processes say so every few seconds. Owns the table `heartbeats`."""

from lms_crm_assets.ops.store import OperationalStore

EVENTS_WORKER, EVENTS_SENSOR = "events worker", "events sensor"

_SILENT_SECONDS = 30.0
"""Longer than any of them is busy between two beats."""


def beat(store: OperationalStore, name: str) -> None:
    """Say that `name` is at work."""
    with store.transaction(on=name) as run:
        run(
            "INSERT INTO heartbeats (name, at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at",
            (name, store.clock()),
        )


def is_alive(store: OperationalStore, *names: str) -> bool:
    """Whether one of them was at work half a minute ago."""
    newest = store.clock() - _SILENT_SECONDS
    return any(store.read("SELECT 1 FROM heartbeats WHERE name = ? AND at > ?", (name, newest)) for name in names)
