"""A generated LMS of any size that serves OneRoster 1.2; `shapes` tells what its rows look like there."""

from lms_crm_assets.sandbox.oneroster.simulator import OneRosterSimulator

__all__ = ["OneRosterSimulator"]
