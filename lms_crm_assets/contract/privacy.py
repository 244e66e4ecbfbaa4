"""The contract's models of personal data: what a forgotten learner's CRM records become, and how long things are kept."""

from typing import Annotated, Literal

from pydantic import Field

from lms_crm_assets.contract.endpoints import ContractModel

Days = Annotated[int, Field(ge=1, le=3650)]


class Privacy(ContractModel):
    """What becomes of a learner whom `lms-crm forget` forgets."""

    forget: Literal["leave", "archive"] = Field(
        "leave",
        description="Their records in the CRM: left as they are, or archived, within the guardrails. Only records that we wrote.",
    )


class Retention(ContractModel):
    """For how many days what is no longer at work is kept; `lms-crm purge` and the nightly job `purge` see to it.

    Plans, outcomes, the ledger's former states and discoveries have `retention_days`.
    """

    deleted_rows_days: Days = Field(30, description="Rows of raw_lms that the LMS says are deleted.")
    inbox_days: Days = Field(
        30, description="Deliveries that are done or parked; a repeat is told by them, and they can be replayed."
    )
    quarantine_days: Days = Field(400, le=400, description="How many rows broke which rule, by day; no learner data.")
    runs_days: Days = Field(
        30,
        description="Dagster's runs with their events and logs, but for the newest that tell how fresh the tenant is.",
    )
