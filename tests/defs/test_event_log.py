"""Dagster's event log with kept connections: the same files, read by Dagster's own."""

import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.event_api import EventLogCursor
from dagster._core.events import StepMaterializationData
from dagster._core.storage.event_log import SqliteEventLogStorage

from lms_crm_assets.defs import event_log

CONFIG = """
telemetry: {{enabled: false}}
run_storage: {{module: dagster._core.storage.runs, class: SqliteRunStorage, config: {{base_dir: {0}/history}}}}
schedule_storage: {{module: dagster._core.storage.schedules, class: SqliteScheduleStorage, config: {{base_dir: {0}/s}}}}
event_log_storage:
  module: lms_crm_assets.defs.event_log
  class: PooledSqliteEventLogStorage
  config: {{base_dir: {0}/history/runs}}
"""


@dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="thing")])
def thing() -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster wants it bare
    return dg.MaterializeResult(metadata={"rows": 3}, check_results=[dg.AssetCheckResult(passed=True)])


def test_what_it_keeps_is_read_by_dagsters_own_and_the_other_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "_MOST_ENGINES", 2)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(CONFIG.format(home), encoding="utf-8")
    runs = []
    for _ in range(4):  # more runs than engines are kept
        with dg.DagsterInstance.from_config(str(home)) as instance:
            result = dg.materialize([thing], instance=instance)
            runs.append(result.run_id)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        again = dg.materialize([thing], instance=instance)
        assert all(instance.get_records_for_run(run).records for run in runs)

    theirs = SqliteEventLogStorage(str(home / "history" / "runs"))
    mine = {record.event_log_entry.run_id for record in theirs.fetch_materializations(thing.key, limit=50).records}
    assert mine == {*runs, again.run_id}
    assert len(theirs.get_logs_for_run(runs[0])) == len(theirs.get_logs_for_run(again.run_id))


PARTS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(partitions_def=PARTS, check_specs=[dg.AssetCheckSpec("good", asset="part")])
def part() -> dg.MaterializeResult:  # type: ignore[type-arg]  # as above
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


JOB = dg.Definitions([part], jobs=[dg.define_asset_job("j")]).resolve_job_def("j")


@dg.asset(partitions_def=PARTS, deps=[part])
def after(context: dg.AssetExecutionContext) -> None:
    """What is told from memory while the run goes on is what Dagster's own reads from the files."""
    told = context.instance.event_log_storage
    theirs = SqliteEventLogStorage(str(Path(told.path_for_shard("index")).parent))
    newest, tags = [], []
    for log in (told, theirs):
        found = log.fetch_materializations(dg.AssetRecordsFilter(part.key, asset_partitions=[context.partition_key]), 1)
        newest.append((found.records[0].storage_id, found.records[0].run_id, found.cursor, found.has_more))
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        tags.append(log.get_latest_tags_by_partition(part.key, kind, ["dagster/data_version"], [context.partition_key]))
    assert newest[0] == newest[1]
    assert tags[0] == tags[1]
    assert tags[0][context.partition_key]


def test_a_run_is_told_from_memory_what_is_in_the_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(CONFIG.format(home), encoding="utf-8")
    job = dg.Definitions([part, after], jobs=[dg.define_asset_job("j", executor_def=dg.in_process_executor)])
    with dg.DagsterInstance.from_config(str(home)) as instance:
        vars(instance)["_get_event_batch_size"] = lambda: 1000  # as defs/instance.py has it
        for name in ("a", "b", "a"):
            run = job.resolve_job_def("j").execute_in_process(instance=instance, partition_key=name)
            assert run.success
            targets = [check.target_materialization_data for check in run.get_asset_check_evaluations()]
            assert [target.run_id for target in targets if target] == [run.run_id]
        assert instance.event_log_storage._made == {}  # type: ignore[attr-defined]
        assert len(instance.fetch_materializations(part.key, limit=9).records) == 3


@pytest.fixture
def home(tmp_path: Path) -> str:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(CONFIG.format(home), encoding="utf-8")
    return str(home)


def newest(instance: dg.DagsterInstance) -> str | None:
    wanted = dg.AssetRecordsFilter(part.key, asset_partitions=["a"])
    found = instance.event_log_storage.fetch_materializations(wanted, 1).records
    return found[0].run_id if found else None


def test_what_a_person_reports_is_not_told_for_ever(home: str) -> None:
    with dg.DagsterInstance.from_config(home) as ui, dg.DagsterInstance.from_config(home) as worker:
        ui.report_runless_asset_event(dg.AssetMaterialization(part.key, partition="a"))
        assert newest(ui) == ""
        run = JOB.execute_in_process(instance=worker, partition_key="a")
        assert newest(ui) == run.run_id


def made(instance: dg.DagsterInstance, run_id: str, partition: str) -> None:
    event = dg.DagsterEvent(
        dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        "j",
        event_specific_data=StepMaterializationData(dg.AssetMaterialization(part.key, partition=partition)),
    )
    instance.report_dagster_event(event, run_id)


def test_what_was_taken_back_or_deleted_is_not_told(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.from_config(home) as instance:
        run_id = instance.create_run_for_job(JOB).run_id
        stored = instance.event_log_storage._store_asset_event  # type: ignore[attr-defined]

        def no_room(*given: object) -> None:
            stored(*given)
            raise OSError("no room")

        with monkeypatch.context() as full:
            full.setattr(instance.event_log_storage, "_store_asset_event", no_room)
            with pytest.raises(OSError, match="no room"):
                made(instance, run_id, "a")
        assert newest(instance) is None
        made(instance, run_id, "a")
        assert newest(instance) == run_id
        instance.delete_run(run_id)
        assert newest(instance) is None


def test_who_watches_a_run_sees_each_event_as_it_comes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(CONFIG.format(home), encoding="utf-8")
    watching = SqliteEventLogStorage(str(home / "history" / "runs"))
    seen: list[str] = []

    with dg.DagsterInstance.from_config(str(home)) as instance:
        run_id = dg.materialize([thing], instance=instance).run_id
        already = len(watching.get_logs_for_run(run_id))
        cursor = EventLogCursor.from_storage_id(already).to_string()
        watching.watch(run_id, cursor, lambda event, _: seen.append(str(event.message)))
        try:
            for number in range(3):
                instance.report_engine_event(f"word {number}", run_id=run_id, job_name="j")
                give_up_at = time.monotonic() + 30
                while len(seen) <= number:
                    assert time.monotonic() < give_up_at
                    time.sleep(0.01)
        finally:
            watching.dispose()

    assert seen == ["word 0", "word 1", "word 2"]
