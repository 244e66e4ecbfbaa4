"""Kubernetes' run launcher, which lets alone what it did not launch."""

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher


class PodRunLauncher(K8sRunLauncher):
    """One pod a run, of the runs that came by Dagster's queue.

    `lms-crm worker` and the commands run theirs in their own process. Dagster's own launcher looks for a pod of each run
    that has begun, and the daemon fails those that have none within half a minute: a living run of events, say.
    """

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """How the run's pod does; of a run without one nothing is known here.

        When its process dies, the tenant's next run in either lane or the next start of the worker ends it
        (`orphans.end_orphans`).
        """
        if run.remote_job_origin is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "It runs in the process of a command or of the worker.")
        found: CheckRunHealthResult = super().check_run_worker_health(run)
        return found
