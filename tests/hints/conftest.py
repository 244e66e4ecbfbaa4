"""The schools and the site of the adapters' own tests."""

from tests.lms.contract.conftest import _simulators, lms
from tests.lms.moodle.conftest import _served, door

__all__ = ["_served", "_simulators", "door", "lms"]
