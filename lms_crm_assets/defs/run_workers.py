"""`celery --app lms_crm_assets.defs.run_workers worker`: does the runs that `celery_runs.TaskRunLauncher` hands out.

The broker is the Redis at `LMS_CRM_BROKER_URL`, as `deploy/celery/dagster.yaml` has it for the launcher.
"""

import os
import sys
from collections.abc import Mapping

from celery import Celery
from celery.signals import setup_logging
from dagster_celery.defaults import task_default_queue
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task

from lms_crm_assets.telemetry import logs

_A_WEEK_SECONDS = 7 * 86_400

_SETTINGS = {
    # A worker takes a run when it has room for it: one that it only kept would be lost with it.
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    # As the default launcher has it: a fresh process a run.
    "worker_max_tasks_per_child": 1,
    # Who has a run has to be known for longer than any run takes.
    "result_expires": _A_WEEK_SECONDS,
    "broker_connection_retry_on_startup": True,
}


def build_app(environ: Mapping[str, str]) -> Celery:
    """The application of the workers; ends the process with a word where no broker is named."""
    broker = environ.get("LMS_CRM_BROKER_URL")
    if not broker:
        sys.exit("LMS_CRM_BROKER_URL is not set: name the Redis that the launcher in dagster.yaml names")
    made: Celery = make_app(  # type: ignore[no-untyped-call]
        {"broker": broker, "backend": broker, "config_source": _SETTINGS, "task_default_queue": task_default_queue}
    )
    create_execute_job_task(made)
    return made


def _log(**_: object) -> None:
    """Lines as all other services write them, past the redaction; Celery would set up its own."""
    logs.for_services()


setup_logging.connect(_log)
app = build_app(os.environ)
