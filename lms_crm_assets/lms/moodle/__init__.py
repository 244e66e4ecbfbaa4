"""Moodle, read through its REST web services: by report builder reports, or without them course by course.

Core services give neither enrolment status nor dates nor completion times in bulk; the reports do (facts: Moodle 4.5).
"""

from lms_crm_assets.lms.moodle.adapter import MoodleAdapter
from lms_crm_assets.lms.moodle.answers import raise_for_exception

__all__ = ["MoodleAdapter", "raise_for_exception"]
