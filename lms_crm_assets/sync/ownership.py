"""Fields that we may only fill: whether they still are empty is asked just before they are written.

The snapshot may be hours old, and somebody may have filled such a field since: that must never be overwritten.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.protocol import CrmAdapter, CrmRecord
from lms_crm_assets.domain import Action, CrmWrite
from lms_crm_assets.snapshot.capture import land_records, refresh_snapshot


@dataclass(frozen=True)
class StillEmpty:
    """Takes the fill-if-empty values whose fields are filled by now out of batches.

    What was read for it goes into the snapshot, before the outcomes do; `file` is its own for that.
    """

    crm: CrmAdapter
    spec: ObjectSpec
    file: Path
    open_warehouse: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def left_of(self, batch: list[CrmWrite]) -> list[CrmWrite]:
        """What is still to be sent of a batch; called by the thread that sends it, so that batches don't wait for each other."""
        filled = self.spec.only_filled
        keys = [write.external_id for write in batch if filled & write.values.keys()]
        if not keys:
            return batch
        found = self.crm.read(self.spec, keys)
        self._remember(found, keys)
        live = {record.external_id: record for record in found}
        return [kept for write in batch if (kept := _reduced(write, live.get(write.external_id), filled))]

    def _remember(self, found: Sequence[CrmRecord], keys: Sequence[str]) -> None:
        with self._one_at_a_time:
            try:
                land_records([list(found)], self.file)
                with self.open_warehouse() as con:
                    refresh_snapshot(con, self.spec, self.file, keys)
            finally:
                self.file.unlink(missing_ok=True)


def _reduced(write: CrmWrite, record: CrmRecord | None, filled: frozenset[str]) -> CrmWrite | None:
    """The write without what somebody filled; None when nothing is left of it."""
    if record is None:
        return write
    values = {name: v for name, v in write.values.items() if name not in filled or _is_empty(record.values.get(name))}
    if not values and not write.parents and write.action is Action.UPDATE:
        return None
    return replace(write, values=values)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
