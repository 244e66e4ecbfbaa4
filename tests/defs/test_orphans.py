"""A run that is over is told from one whose process died."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from lms_crm_assets.defs import orphans
from lms_crm_assets.ops.lanes import Lane, Place

STARTED = dg.DagsterRunStatus.STARTED


def started(instance: dg.DagsterInstance) -> str:
    run = create_run_for_test(
        instance, job_name="incremental_pull", status=STARTED, tags={"dagster/partition": "globex"}
    )
    return str(run.run_id)


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_that_gave_its_place_back_may_say_how_it_ended_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started(instance)
        first_look = orphans._started

        def then_it_says_so(*args: Any) -> set[str]:
            found = first_look(*args)
            monkeypatch.setattr(orphans, "_started", first_look)
            event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "incremental_pull")
            instance.report_dagster_event(event, run_id)
            return found

        monkeypatch.setattr(orphans, "_started", then_it_says_so)
        orphans.end_orphans(instance, "globex", tmp_path, Lane.EVENTS)

        assert status(instance, run_id) is dg.DagsterRunStatus.SUCCESS


def test_a_run_that_was_killed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "_GRACE_SECONDS", 0.2)
    with dg.DagsterInstance.ephemeral() as instance:
        alive = Place(tmp_path, "globex", Lane.FULL)
        run_id = started(instance)
        orphans.end_orphans(instance, "globex", tmp_path, Lane.EVENTS)
        assert status(instance, run_id) is STARTED
        alive.close()
        orphans.end_orphans(instance, "globex", tmp_path, Lane.EVENTS)

        assert status(instance, run_id) is dg.DagsterRunStatus.FAILURE
