"""A clock that only tests move, and a store that goes by it."""

from lms_crm_assets.ops.store import OperationalStore
from tests.postgres import Place


class Clock:
    """Seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


def store_with_clock(place: Place) -> tuple[OperationalStore, Clock]:
    """An empty store and its clock."""
    clock = Clock()
    return place.store(clock), clock
