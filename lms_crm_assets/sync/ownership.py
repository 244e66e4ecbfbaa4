"""Fields that we may only fill: whether they still are empty is asked just before they are written.

The snapshot may be hours old, and somebody may have filled such a field since: that must never be overwritten.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.protocol import CrmAdapter, CrmRecord
from lms_crm_assets.domain import Action, CrmWrite
from lms_crm_assets.snapshot.capture import land_records, refresh_snapshot


@contextmanager
def still_empty(
    crm: CrmAdapter,
    spec: ObjectSpec,
    batches: Iterator[list[CrmWrite]],
    file: Path,
    open_warehouse: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> Iterator[Iterator[list[CrmWrite]]]:
    """The batches without the fill-if-empty values whose fields are filled by now.

    What was read for it goes into the snapshot, before the outcomes do.
    """
    filled = spec.only_filled
    if not filled:
        yield batches
        return

    def checked() -> Iterator[list[CrmWrite]]:
        for batch in batches:
            keys = [write.external_id for write in batch if filled & write.values.keys()]
            found = crm.read(spec, keys) if keys else []
            _remember(found, keys, spec, file, open_warehouse)
            live = {record.external_id: record for record in found}
            kept = [reduced for write in batch if (reduced := _reduced(write, live.get(write.external_id), filled))]
            if kept:
                yield kept

    try:
        yield checked()
    finally:
        file.unlink(missing_ok=True)


def _remember(
    found: Sequence[CrmRecord],
    keys: Sequence[str],
    spec: ObjectSpec,
    file: Path,
    open_warehouse: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> None:
    if keys:
        land_records([list(found)], file)
        with open_warehouse() as con:
            refresh_snapshot(con, spec, file, keys)


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
