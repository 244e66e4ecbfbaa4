"""The launch form: what a person may wish for a run, and what is refused before it starts."""

from typing import Any

import dagster as dg
import pytest

from lms_crm_assets.definitions import defs
from lms_crm_assets.defs.launch import PLAN_STEP, PlanConfig, launched_with
from lms_crm_assets.domain import CrmObject


@pytest.mark.parametrize("job", ["full_reconcile", "incremental_pull", "apply"])
def test_the_form_of_a_job_shows_what_may_be_wished(job: str) -> None:
    form = defs.resolve_job_def(job).get_run_config_for_partition_key("acme")["ops"][PLAN_STEP]["config"]
    assert form == {
        "dry_run": False,
        "objects": dict.fromkeys(map(str, CrmObject), True),
        "apply_plan": "",
        "despite_guardrails": False,
    }


@pytest.mark.parametrize("wish", [{"objects": {"lead": False}}, {"dry": True}, {"apply_plan": 7}])
def test_what_makes_no_sense_is_refused_before_the_run(wish: dict[str, Any]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(defs.resolve_job_def("apply"), {"ops": {PLAN_STEP: {"config": wish}}})


@pytest.mark.parametrize("obj", CrmObject)
def test_each_object_may_be_left_out(obj: CrmObject) -> None:
    config = {"ops": {PLAN_STEP: {"config": {"objects": {str(obj): False}}}}}
    assert dg.validate_run_config(defs.resolve_job_def("apply"), config)
    assert launched_with(dg.DagsterRun(job_name="apply", run_config=config)).left_out == {obj}


@pytest.mark.parametrize("run_config", [{}, {"ops": {}}, {"ops": {PLAN_STEP: {}}}])
def test_a_run_without_the_form_wishes_nothing(run_config: dict[str, Any]) -> None:
    assert launched_with(dg.DagsterRun(job_name="apply", run_config=run_config)) == PlanConfig()
