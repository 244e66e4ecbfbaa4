"""What the doctor says of one thing."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`ok`; `warn`: runs go on, somebody should look; `fail`: runs can't do what the contract says."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line: what was looked at, how it stands in plain words, and what mends it."""

    about: str
    level: Level
    says: str
    remedy: str = ""


def ok(about: str, says: str) -> Verdict:
    """All is well."""
    return Verdict(about, Level.OK, says)


def warn(about: str, says: str, remedy: str) -> Verdict:
    """Somebody should look."""
    return Verdict(about, Level.WARN, says, remedy)


def fail(about: str, says: str, remedy: str) -> Verdict:
    """This has to be mended."""
    return Verdict(about, Level.FAIL, says, remedy)
