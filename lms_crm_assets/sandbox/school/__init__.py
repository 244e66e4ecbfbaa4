"""A generated LMS of any size that serves the changes contract; `generator` tells what its rows look like."""

from lms_crm_assets.sandbox.school.api import SchoolSimulator

__all__ = ["SchoolSimulator"]
