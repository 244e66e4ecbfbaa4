"""The check `believable`: what it says of each entity of a pull, and what a pull that is not believed leaves as it was."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.edge import TENANTS
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from tests.sandbox_control import fault


class Pulls:
    """Pulls of globex, without the layers that follow."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._job = build_definitions(settings).resolve_job_def("full_reconcile")
        self._instance, self._warehouse = instance, locate(settings, "globex")
        instance.add_dynamic_partitions(str(TENANTS.name), ["globex"])

    def pull(self, *entities: LmsEntity, mode: str = "full") -> dg.ExecuteInProcessResult:
        quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
        return self._job.execute_in_process(
            partition_key="globex",
            instance=self._instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(["raw_lms", entity.value]) for entity in entities or LmsEntity],
            run_config={"ops": {"raw_lms": {"config": {"mode": mode}}}, "loggers": quiet},
        )

    def held(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every raw row and every cursor."""
        with connect(self._warehouse) as con:
            return {
                table: con.execute(f"FROM raw_lms.{table} ORDER BY ALL").fetchall() for table in (*LmsEntity, "cursors")
            }


@pytest.fixture
def pulls(sandbox: Sandbox, settings: Settings) -> Iterator[Pulls]:  # noqa: ARG001 - it sets the environment
    with dg.DagsterInstance.ephemeral() as instance:
        yield Pulls(settings, instance)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    found = {check.asset_key.path[1]: check for check in result.get_asset_check_evaluations()}
    assert {check.check_name for check in found.values()} == {"believable"}
    return found


def figures(check: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in check.metadata.items()}


def test_a_first_pull_and_one_like_it_are_believed(pulls: Pulls) -> None:
    first, second = checks(pulls.pull()), checks(pulls.pull())

    assert all(check.passed for check in (*first.values(), *second.values()))
    assert first.keys() == second.keys() == set(LmsEntity)
    courses = figures(second["courses"])
    assert courses == {"rows_before": 6, "rows_now": 6, "share": 0.0, "limit": 0.5}
    assert figures(first["courses"]) == {**courses, "rows_before": 0}
    assert second["courses"].description == "globex: the LMS gave 6 courses, it had 6 before."


def test_one_entity_that_is_not_believed_holds_all_of_the_pull_back(sandbox: Sandbox, pulls: Pulls) -> None:
    pulls.pull()
    before = pulls.held()
    fault(sandbox.school, {"route": "/learners$", "kind": "fewer", "rows": 0.1})

    result = pulls.pull()

    assert not result.success
    assert pulls.held() == before
    assert [event.asset_key for event in result.get_asset_materialization_events()] == []
    found = checks(result)
    assert found.keys() == set(LmsEntity)
    assert [name for name, check in found.items() if not check.passed] == ["learners"]
    learners = found["learners"]
    assert (learners.severity, learners.blocking) == (dg.AssetCheckSeverity.ERROR, True)
    told = figures(learners)
    had, now = told["rows_before"], told["rows_now"]
    assert (had > 250, now < 60) == (True, True)
    assert told == {"rows_before": had, "rows_now": now, "share": round(1 - now / had, 4), "limit": 0.5}
    assert learners.description == (
        f"globex: the LMS gave {now} learners where it had {had} before ({1 - now / had:.1%} fewer): not believed, "
        "the limit is 50.0% fewer. Nothing was loaded and nothing sent. Check what the credential may see; if so many "
        "really are gone, raise checks.max_shrink_share"
    )
    assert found["courses"].description == (
        "globex: the LMS gave 6 courses, it had 6 before. Not loaded, because of the learners of the same pull."
    )


def test_what_a_full_pull_did_not_believe_stays_to_be_seen_until_another_is_believed(
    sandbox: Sandbox, pulls: Pulls
) -> None:
    pulls.pull()
    fault(sandbox.school, {"route": "/learners$", "kind": "fewer", "rows": 0.1})
    pulls.pull()
    fault(sandbox.school)

    for mode in ("incremental", "events"):
        result = pulls.pull(mode=mode)

        assert result.success
        found = checks(result)
        assert [name for name, check in found.items() if not check.passed] == ["learners"]
        assert found["learners"].severity is dg.AssetCheckSeverity.WARN
        assert " were not believed. Check what the credential may see" in str(found["learners"].description)
    assert all(check.passed for check in checks(pulls.pull()).values())
    assert all(check.passed for check in checks(pulls.pull(mode="incremental")).values())


def test_what_was_not_asked_for_is_not_weighed(sandbox: Sandbox, pulls: Pulls) -> None:
    pulls.pull()
    fault(sandbox.school, {"route": "/learners$", "kind": "fewer", "rows": 0.1})

    result = pulls.pull(LmsEntity.COURSES)

    assert result.success
    assert checks(result).keys() == {"courses"}


def test_an_incremental_pull_takes_nothing_for_gone(sandbox: Sandbox, pulls: Pulls) -> None:
    pulls.pull()
    fault(sandbox.school, {"route": "", "kind": "fewer", "rows": 0.1})

    result = pulls.pull(mode="incremental")

    assert result.success
    assert all(check.passed and not check.metadata for check in checks(result).values())
