"""The launch form of a run: what of its plan is sent, told once at `delta__plan` and heeded by all its steps.

It asks for less than is switched and allowed, never for more (`docs/switches.md`).
"""

from typing import Any

import dagster as dg
from pydantic import Field

from lms_crm_assets.domain import CrmObject

PLAN_STEP = "delta__plan"


class Objects(dg.Config):
    """Which objects are sent; the others are left alone."""

    contact: bool = True
    course: bool = True
    enrollment: bool = True
    completion: bool = True
    competency: bool = True


class PlanConfig(dg.Config):
    """Which plan is to be sent, and what of it."""

    dry_run: bool = Field(
        default=False,
        description="Do everything up to the plan and send nothing: the switch dry-run, for this run alone.",
    )
    objects: Objects = Field(
        default=Objects(), description="Objects that are false are left alone: the switch only, for this run alone."
    )
    apply_plan: str = Field(
        default="",
        description="The id of a stored plan to send, if it is not stale, as lms-crm apply. Empty: a new plan.",
    )
    despite_guardrails: bool = Field(
        default=False, description="Send the stored plan although the guardrails refuse it."
    )

    @property
    def left_out(self) -> frozenset[CrmObject]:
        """The objects that are left alone."""
        return frozenset(obj for obj in CrmObject if not getattr(self.objects, obj))


def step_forms(run: dg.DagsterRun) -> dict[str, dict[str, Any]]:
    """What the launch form told each step, as it was filled in; a run that was launched without one told none."""
    ops: Any = run.run_config.get("ops") or {}
    return {step: (told or {}).get("config") or {} for step, told in ops.items()}


def launched_with(run: dg.DagsterRun) -> PlanConfig:
    """What the run was launched with, also where the step that this is told at is not among its own."""
    return PlanConfig(**step_forms(run).get(PLAN_STEP, {}))
