"""The launcher of Celery's workers asks them who is at a run, whatever the results say. The whole way: tests/e2e/test_run_workers."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from lms_crm_assets.defs import celery_runs
from lms_crm_assets.defs.celery_runs import TaskRunLauncher

ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("lms_crm_assets"), "__repository__"), "full_reconcile"
)


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> TaskRunLauncher:
    """Over a broker in this process, with no worker."""
    monkeypatch.setattr(celery_runs, "_ANSWER_SECONDS", 0.2)
    return TaskRunLauncher("dagster", broker="memory://", backend="cache+memory://")


@pytest.fixture
def instance(launcher: TaskRunLauncher) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        launcher.register_instance(found)
        yield found


def started(instance: dg.DagsterInstance, origin: RemoteJobOrigin | None = ORIGIN, task: str = "") -> dg.DagsterRun:
    run: dg.DagsterRun = create_run_for_test(
        instance,
        "full_reconcile",
        status=dg.DagsterRunStatus.STARTED,
        remote_job_origin=origin,
        tags={DAGSTER_CELERY_TASK_ID_TAG: task} if task else {},
    )
    return run


def test_a_run_whose_worker_does_not_answer_has_failed_though_its_result_says_started(
    launcher: TaskRunLauncher, instance: dg.DagsterInstance
) -> None:
    run = started(instance, task="task-1")
    launcher.celery.backend.store_result("task-1", {"hostname": "one@there", "pid": 1}, "STARTED")

    health = launcher.check_run_worker_health(run)

    assert health.status is WorkerStatus.FAILED
    assert health.msg is not None
    assert "one@there" in health.msg


def test_a_run_in_a_commands_process_or_being_handed_over_is_not_taken_for_dead(
    launcher: TaskRunLauncher, instance: dg.DagsterInstance
) -> None:
    for run in (started(instance, None), started(instance)):
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_run_without_a_task_can_not_be_ended_by_the_launcher(
    launcher: TaskRunLauncher, instance: dg.DagsterInstance
) -> None:
    run = started(instance, None)

    assert not launcher.terminate(run.run_id)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.STARTED
