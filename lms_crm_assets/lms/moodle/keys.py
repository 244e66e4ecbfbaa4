"""What a key to fetch names: a report's row, or somebody in a course."""

import re
from dataclasses import dataclass

# A canonical id: learner and course, of a score also the item.
_CANONICAL = re.compile(r"(\d+):(\d+)(?::(course|\d+))?")
# A canonical id of a rating: learner and the competency's ID number, which is empty for all of the learner's.
_RATING = re.compile(r"(\d+):([^:]*)")


@dataclass(frozen=True)
class MemberKey:
    """Somebody in a course, by ids; `item` is a grade item, None for all."""

    key: str
    user_id: str
    course_id: str
    item: str | None = None


def member_key(key: str) -> MemberKey | None:
    """The key as `userid:courseid` with an item where it has one; None where it is anything else."""
    found = _CANONICAL.fullmatch(key)
    return MemberKey(key, found[1], found[2], found[3]) if found else None


def rating_key(key: str) -> tuple[str, str] | None:
    """The key as learner and competency; None where it is anything else."""
    found = _RATING.fullmatch(key)
    return (found[1], found[2]) if found else None


def username(key: str) -> str:
    """Whom a report's row is about: its key begins with the username, which holds no colon."""
    return key.partition(":")[0]
