"""Dagster's event log in SQLite with kept connections: a small run spends half of its time on opening them otherwise.

Dagster's own storage makes an engine for every event, with a connection that closes, and so checkpoints its file, after
it; and asks for each check's event whether there is a table of checks, and for each step three times whether there is the
tenant. A run that finds nothing to do took 12 to 16 s, with kept engines 11 s, with connections kept 8 s. The files are
the same ones; in Postgres there is no such loss.

And a step asks of each asset that it stands on, and a check of its own, for the materialization that the same process wrote
a moment ago: those of the runs that are under way here are told from memory, which takes an eighth off such a run.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Self

from dagster import AssetKey, DagsterEventType, EventLogRecord
from dagster._core.definitions.events import AssetMaterialization
from dagster._core.event_api import AssetRecordsFilter, EventLogCursor, EventRecordsResult
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.event import listen
from sqlalchemy.exc import DatabaseError

_BUSY_SECONDS = 60
_MOST_ENGINES = 16
_ENDS = {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
_REVISION = "alembic_version"


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Each file has an engine with its connections, which is kept while it is one of the last that were asked for."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._partitions: set[tuple[str, str]] = set()
        self._columns: set[str] = set()
        self._made: dict[tuple[AssetKey, str | None], EventLogRecord] = {}
        # Of the thread that has the lock.
        self._begun: dict[str, Connection] = {}
        super().__init__(base_dir, inst_data)
        self._db_lock = RLock()  # type: ignore[assignment]  # Dagster's is a lock that one thread takes once

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Made from dagster.yaml, where it takes a `base_dir`."""
        return cls(inst_data=inst_data, **config_value)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; none ever goes."""
        if table_name not in self._tables:
            if not super().has_table(table_name):
                return False
            self._tables.add(table_name)
        return True

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        """Whether there is a partition; one that was there is, until this process removes it."""
        partition = partitions_def_name, partition_key
        if partition not in self._partitions:
            if not super().has_dynamic_partition(*partition):
                return False
            self._partitions.add(partition)
        return True

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """Remove a partition."""
        self._partitions.discard((partitions_def_name, partition_key))
        super().delete_dynamic_partition(partitions_def_name, partition_key)

    def store_event(self, event: EventLogEntry) -> None:
        """Keep an event, all that is noted of it in one transaction a file."""
        try:
            with ExitStack() as stack:
                if event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS | ASSET_CHECK_EVENTS:
                    stack.enter_context(self._connect(INDEX_SHARD_NAME))
                super().store_event(event)
        except BaseException:
            # Of what was taken back nothing is told.
            self._made = {}
            raise
        if event.is_dagster_event and event.dagster_event_type in _ENDS:
            self._forget(event.run_id)
        if event.run_id not in self._begun:
            # The UI's live log waits for a change of the run's own file, which a connection that stays open puts off.
            os.utime(self.path_for_shard(event.run_id))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Keep events of one run, such as what it plans to do, in one transaction a file."""
        with self._connect(events[0].run_id), self._connect(INDEX_SHARD_NAME):
            for event in events:
                self.store_event(event)

    def _forget(self, run_id: str) -> None:
        with self._db_lock:  # a run in another thread adds to it meanwhile
            self._made = {asset: made for asset, made in self._made.items() if made.run_id != run_id}

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        super()._store_asset_event(conn, event, event_id)
        told = event.dagster_event
        if told is None or not told.asset_key or told.event_type is not DagsterEventType.ASSET_MATERIALIZATION:
            return
        asset = told.asset_key, told.partition
        if event.run_id == RUNLESS_RUN_ID:
            # What a person reports in the UI: no end of a run would come after which it is told no more.
            self._made.pop(asset, None)
        else:
            self._made[asset] = EventLogRecord(event_id, event)

    def fetch_materializations(
        self,
        records_filter: AssetKey | AssetRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,  # noqa: FBT001, FBT002 - as Dagster has it
    ) -> EventRecordsResult:
        """The materializations of an asset; the newest one of a partition is often of a run that is under way here."""
        if isinstance(records_filter, AssetRecordsFilter) and limit == 1 and not (cursor or ascending):
            partition, *others = records_filter.asset_partitions or [""]
            made = self._made.get((records_filter.asset_key, partition))
            if made and partition and not others and not any(records_filter[2:]):
                end = EventLogCursor.from_storage_id(made.storage_id).to_string()
                return EventRecordsResult([made], cursor=end, has_more=True)
        return super().fetch_materializations(records_filter, limit, cursor, ascending)

    def get_latest_tags_by_partition(
        self,
        asset_key: AssetKey,
        event_type: DagsterEventType,
        tag_keys: Sequence[str],
        asset_partitions: Sequence[str] | None = None,
        before_cursor: int | None = None,
        after_cursor: int | None = None,
    ) -> Mapping[str, Mapping[str, str]]:
        """The tags of the newest event of each partition."""
        if event_type is DagsterEventType.ASSET_MATERIALIZATION and not (before_cursor or after_cursor):
            tags = {name: _tags(self._made.get((asset_key, name))) for name in asset_partitions or ()}
            if tags and all(tags.values()):
                return {name: {k: v for k, v in found.items() if k in tag_keys} for name, found in tags.items()}
        return super().get_latest_tags_by_partition(
            asset_key, event_type, tag_keys, asset_partitions, before_cursor, after_cursor
        )

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        if column_name not in self._columns:
            if not super()._has_asset_key_col_on_connection(conn, column_name):
                return False
            self._columns.add(column_name)
        return True

    def wipe_asset(self, asset_key: AssetKey) -> None:
        """Forget what is known of an asset."""
        self._made.clear()
        super().wipe_asset(asset_key)

    def delete_events(self, run_id: str) -> None:
        """Forget a run's events; its file goes too, which Dagster leaves there."""
        super().delete_events(run_id)
        self._forget(run_id)
        with self._db_lock:
            if (engine := self._engines.pop(run_id, None)) is not None:
                engine.dispose()
            self._initialized_dbs.discard(run_id)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path_for_shard(run_id)}{suffix}").unlink(missing_ok=True)

    def wipe(self) -> None:
        """Forget everything; the files go, and the connections before them."""
        self._close()
        self._tables.clear()
        self._columns.clear()
        self._partitions.clear()
        self._made.clear()
        super().wipe()

    def dispose(self) -> None:
        """Close the connections."""
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if shard in self._begun:
                yield self._begun[shard]
                return
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine, for_index_shard=shard == INDEX_SHARD_NAME)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                self._begun[shard] = connection
                try:
                    yield connection
                finally:
                    del self._begun[shard]

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:  # noqa: FBT001, FBT002 - as Dagster has it
        """Make the tables of a new file; Dagster reads all its migrations for that, and to see that a file is none."""
        if inspect(engine).has_table(_REVISION):
            return
        if for_index_shard or not self._as_the_index(engine):
            super()._initdb(engine, for_index_shard)

    def _as_the_index(self, engine: Engine) -> bool:
        """Make the tables of a run's new file, stamped as the index is; not so while another process makes them too."""
        with self._connect(INDEX_SHARD_NAME) as index:
            revision = index.execute(text(f"SELECT version_num FROM {_REVISION}")).scalar()
        if revision is None:
            return False
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                SqlEventLogStorageMetadata.create_all(connection)
                connection.exec_driver_sql(f"CREATE TABLE {_REVISION} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
                connection.exec_driver_sql(f"INSERT INTO {_REVISION} VALUES (?)", (revision,))
                connection.commit()
        except DatabaseError:
            return False
        return True

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = create_engine(self.conn_string_for_shard(shard), connect_args={"timeout": _BUSY_SECONDS})
            listen(engine, "connect", _quick)
        self._engines[shard] = engine
        while len(self._engines) > _MOST_ENGINES:
            self._engines.popitem(last=False)[1].dispose()
        return engine


def _quick(connection: Any, _record: object) -> None:
    """With a write-ahead log a loss of power takes the newest events at most, and never the file."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _tags(made: EventLogRecord | None) -> Mapping[str, str]:
    materialization = made and made.asset_materialization
    return (materialization.tags or {}) if isinstance(materialization, AssetMaterialization) else {}
