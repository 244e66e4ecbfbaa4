"""Dagster's instance for commands that run jobs in their own process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager

from lms_crm_assets.settings import Settings

_MOST_EVENTS = 1000


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """Dagster's instance; of two processes that come to a fresh one at once, the second waits while it is made."""
    file = settings.state_dir / "locks" / "dagster.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = DagsterInstance.get()
        # Storages make their tables when they are asked for the first time.
        instance.get_runs_count()
        instance.get_dynamic_partitions("tenants")
        instance.schedule_storage  # noqa: B018 - as above
    _make_log_handlers_once(instance)
    _plan_in_one_go(instance)
    _leave_the_output_alone(instance)
    with instance:
        yield instance


def _make_log_handlers_once(instance: DagsterInstance) -> None:
    """Dagster configures Python's logging anew for every run, which waits for all handlers while it holds logging's own lock.

    A run in another thread that has a handler's lock and waits for logging's would wait for ever.
    """
    handlers = instance.get_yaml_python_handlers()
    vars(instance)["get_yaml_python_handlers"] = lambda: handlers


def _plan_in_one_go(instance: DagsterInstance) -> None:
    """What a run plans to do is some eighty events at once: kept in one transaction, as DAGSTER_EVENT_BATCH_SIZE would have it."""
    vars(instance)["_get_event_batch_size"] = lambda: _MOST_EVENTS


def _leave_the_output_alone(instance: DagsterInstance) -> None:
    """Dagster captures what the process prints into files of the step; with two runs in one process it ends there for good."""
    manager = NoOpComputeLogManager()
    manager.register_instance(instance)
    instance._compute_log_manager = manager  # noqa: SLF001 - it is told in dagster.yaml alone, for all processes alike
