"""The contract's model of reports: after which runs a page is made."""

from typing import Literal

from pydantic import Field

from lms_crm_assets.contract.endpoints import ContractModel


class Report(ContractModel):
    """The reconciliation report, one HTML page a run; `lms-crm report` makes it of any run that is known, whatever stands here."""

    attach: Literal["full", "every", "never"] = Field(
        "full",
        description="After which runs the page is made by itself: those that read everything, also every pull that changed"
        " something, or none.",
    )
