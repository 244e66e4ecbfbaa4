"""From which staged columns an object's canonical columns come, as `sql/*.sql` make them; a test keeps the two equal."""

from collections.abc import Iterator
from dataclasses import dataclass

from lms_crm_assets.contract.canonical import MATCH_COLUMN
from lms_crm_assets.domain import CrmObject, LmsEntity


@dataclass(frozen=True, slots=True)
class Origin:
    """A column of a staged table."""

    entity: LmsEntity
    column: str


_E, _P, _S, _C, _O = (
    LmsEntity.ENROLLMENTS,
    LmsEntity.COMPLETIONS,
    LmsEntity.SCORES,
    LmsEntity.COMPETENCIES,
    LmsEntity.COURSES,
)
# What is made of rows of other tables than the object's own, or of several columns; others are passed on as they are.
_MADE: dict[tuple[CrmObject, str], tuple[Origin, ...]] = {
    (CrmObject.COMPLETION, "score"): (Origin(_S, "raw"),),
    (CrmObject.COMPLETION, "score_max"): (Origin(_S, "max"),),
    (CrmObject.COMPLETION, "score_pct"): (Origin(_S, "pct"), Origin(_S, "raw"), Origin(_S, "max")),
    (CrmObject.COMPLETION, "passed"): (Origin(_S, "passed"),),
    (CrmObject.CONTACT, "courses_enrolled"): (Origin(_E, "course_id"), Origin(_E, "status")),
    (CrmObject.CONTACT, "courses_in_progress"): (Origin(_P, "course_id"), Origin(_P, "state")),
    (CrmObject.CONTACT, "courses_completed"): (Origin(_P, "course_id"), Origin(_P, "state")),
    (CrmObject.CONTACT, "last_enrolled_at"): (Origin(_E, "enrolled_at"),),
    (CrmObject.CONTACT, "last_completed_at"): (Origin(_P, "completed_at"), Origin(_P, "state")),
    (CrmObject.CONTACT, "last_completed_course"): (
        Origin(_O, "title"),
        Origin(_O, "code"),
        Origin(_P, "completed_at"),
        Origin(_P, "source_id"),
        Origin(_P, "state"),
    ),
    (CrmObject.CONTACT, "competencies_proficient"): (Origin(_C, "code"), Origin(_C, "proficient")),
}
_PARENT_COLUMNS = {CrmObject.CONTACT: "learner_id", CrmObject.COURSE: "course_id"}


def origins(obj: CrmObject, columns: frozenset[str]) -> Iterator[Origin]:
    """The staged columns that these canonical columns of an object come from, each once."""
    found = (_MADE.get((obj, column), (Origin(obj.entity, column),)) for column in sorted(columns))
    yield from dict.fromkeys(origin for made in found for origin in made)


def key_origin(obj: CrmObject, parent: CrmObject | None = None) -> Origin:
    """The staged column that an object's match key comes from, or the one by which it names a parent."""
    return Origin(obj.entity, MATCH_COLUMN if parent is None else _PARENT_COLUMNS[parent])
