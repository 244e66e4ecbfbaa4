"""OneRoster 1.2 (1EdTech): the rostering service and the gradebook service of a provider. See docs/oneroster.md."""

from lms_crm_assets.lms.oneroster.adapter import OneRosterAdapter

__all__ = ["OneRosterAdapter"]
