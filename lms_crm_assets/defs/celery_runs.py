"""Celery's run launcher: each run of a tenant is one task, which any of the workers takes."""

from celery.states import READY_STATES, STARTED
from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.tags import RETRY_STRATEGY_TAG
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

_ANSWER_SECONDS = 10.0
"""A worker's main process does no runs itself, so that it answers within milliseconds but on a machine at its limit."""


class TaskRunLauncher(CeleryRunLauncher):
    """One task a run, of the runs that came by Dagster's queue.

    Dagster's own launcher believes what Celery's results say, and they say "started" of a task for ever when its worker was
    killed. This one asks the worker. A run that is lost fails, and the daemon's `run_retries` starts another.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Give the run's task to the broker; what starts it again after its worker's death repeats all of it.

        Steps of a tenant's run lean on what earlier ones left in the run's own files and plans, so that it can't be taken up
        in the middle.
        """
        run = context.dagster_run
        if RETRY_STRATEGY_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {RETRY_STRATEGY_TAG: "ALL_STEPS"})
        super().launch_run(context)

    @property
    def supports_resume_run(self) -> bool:
        """For the same reason it is not gone on with either."""
        return False

    def terminate(self, run_id: str) -> bool:
        """End a run as a person asks for; it counts as canceled then, not as failed."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        return bool(super().terminate(run_id))

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether a worker is at the run; of one without a task nothing is known here, as `pod_runs` tells."""
        if run.remote_job_origin is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "It runs in the process of a command or of the worker.")
        task = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "Its task is being handed over.")
        result = self.celery.AsyncResult(task)
        state = result.state
        if state in READY_STATES:
            # Dagster looks again whether the run has ended too, before it believes this.
            return CheckRunHealthResult(WorkerStatus.FAILED, f"Its task has ended ({state}), and it has not.")
        # A broker that was emptied knows of no result: then all workers are asked.
        worker = result.info.get("hostname") if state == STARTED and isinstance(result.info, dict) else None
        asked = self.celery.control.inspect(destination=[worker] if worker else None, timeout=_ANSWER_SECONDS)
        if any(task in tasks for tasks in (asked.query_task(task) or {}).values()):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"No worker is at it; {worker or 'no worker'} had it last.")
