"""Thinkific, read through its public API: docs/thinkific.md tells by which calls, and what Thinkific can't tell."""

from lms_crm_assets.lms.thinkific.adapter import ThinkificAdapter

__all__ = ["ThinkificAdapter"]
