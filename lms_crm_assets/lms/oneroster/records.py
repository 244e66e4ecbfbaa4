"""Rows of a collection as the records of an entity."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.oneroster.rows import is_deleted, member, sourced_id
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.lms.rows import newest


def page_of(entity: LmsEntity, rows: Sequence[Any], before: int = 0, *, whole: bool) -> Page:
    """The records of some rows, `before` which so many came; `whole`: all rows of the collection are read."""
    numbered = ((f"(row {before + n} has no sourcedId)", row) for n, row in enumerate(rows))
    keyed = ((sourced_id(row) or stand_in, row) for stand_in, row in numbered)
    match entity:
        case LmsEntity.LEARNERS:
            records = [_record(key, _without_passwords(row)) for key, row in keyed]
        case LmsEntity.COMPETENCIES:
            records = list(_ratings(keyed, whole=whole))
        case _:
            records = [_record(key, row) for key, row in keyed]
    return Page(entity, records, newest(rows, "dateLastModified"))


def _record(key: str, row: Any) -> RawRecord:
    """A deleted row keeps what it was."""
    return RawRecord(key, row, is_deleted=is_deleted(row))


def _ratings(keyed: Iterator[tuple[str, Any]], *, whole: bool) -> Iterator[RawRecord]:
    """The results that rate learning objectives.

    Among rows that changed, one without ratings may have had some: it is given as deleted.
    """
    for key, row in keyed:
        if member(row, "learningObjectiveSet"):
            yield _record(key, row)
        elif not whole:
            yield RawRecord(key, row, is_deleted=True)


def _without_passwords(user: Any) -> Any:
    """OneRoster has fields for passwords, which nobody here may keep: `password`, and `credentials` of a profile."""
    if not isinstance(user, Mapping):
        return user
    kept = {name: value for name, value in user.items() if name != "password"}
    if isinstance(profiles := kept.get("userProfiles"), list):
        kept["userProfiles"] = [_without_credentials(profile) for profile in profiles]
    return kept


def _without_credentials(profile: Any) -> Any:
    if not isinstance(profile, Mapping):
        return profile
    return {name: value for name, value in profile.items() if name != "credentials"}
