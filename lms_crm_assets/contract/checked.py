"""Which rule judges which columns of the LMS's rows, how strictly by default, and what of it a contract may change.

The rules themselves stand in `checks.row_rules` and `checks.violations`, under the same codes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lms_crm_assets.contract.canonical import ENTITY_COLUMNS, TEXTS
from lms_crm_assets.domain import LmsEntity, RuleSeverity

_LEARNERS, _COURSES, _ENROLLMENTS = LmsEntity.LEARNERS, LmsEntity.COURSES, LmsEntity.ENROLLMENTS
_COMPLETIONS, _SCORES, _COMPETENCIES = LmsEntity.COMPLETIONS, LmsEntity.SCORES, LmsEntity.COMPETENCIES
_OF_BOTH = ("source_id", "learner_id", "course_id")

KEYS = frozenset({*_OF_BOTH})
"""Without these a row is nobody's: no contract loosens their rules."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One code: the columns that it judges, by entity.

    `limit` is its figure where it has one, in `unit`, and `bounds` are the least and the most that a contract can make of
    it. What is `fixed` can't be loosened: the row has no place in the CRM.
    """

    columns: Mapping[LmsEntity, tuple[str, ...]]
    severity: RuleSeverity = RuleSeverity.ERROR
    limit: float | None = None
    unit: str = ""
    bounds: tuple[float, float] = (0, 0)
    fixed: bool = False


_HAS_BEEN: Mapping[LmsEntity, tuple[str, ...]] = {
    _ENROLLMENTS: ("enrolled_at",),
    _COMPLETIONS: ("completed_at",),
    _SCORES: ("graded_at",),
    _COMPETENCIES: ("rated_at",),
}
_NAMES: Mapping[LmsEntity, tuple[str, ...]] = {
    _LEARNERS: ("given_name", "family_name", "organization"),
    _COURSES: ("title",),
    _COMPETENCIES: ("name",),
}
_CHILDREN = (_ENROLLMENTS, _COMPLETIONS, _SCORES, _COMPETENCIES)

_WHOLE: Mapping[LmsEntity, tuple[str, ...]] = {
    _LEARNERS: ("username", "email", "given_name", "family_name"),
    _COURSES: ("title",),
    _COMPETENCIES: ("name",),
}


def _readable(entity: LmsEntity) -> tuple[str, ...]:
    """Texts of which a character can be broken, and all that is no text."""
    others = (column for column, kind in ENTITY_COLUMNS[entity].items() if kind not in TEXTS)
    return (*_WHOLE.get(entity, ()), *others)


CHECKED: dict[str, Checked] = {
    "LMS-101": Checked(
        {
            _LEARNERS: ("source_id", "email", "family_name", "status"),
            _COURSES: ("source_id", "title"),
            _ENROLLMENTS: (*_OF_BOTH, "status"),
            _COMPLETIONS: (*_OF_BOTH, "state"),
            _SCORES: (*_OF_BOTH, "item_type"),
            _COMPETENCIES: ("source_id", "learner_id", "code", "name"),
        }
    ),
    "LMS-102": Checked({entity: _readable(entity) for entity in LmsEntity}, fixed=True),
    "LMS-103": Checked(
        dict.fromkeys(LmsEntity, ("source_id",)), limit=255, unit="characters", bounds=(1, 255), fixed=True
    ),
    "LMS-104": Checked({_LEARNERS: ("email",)}),
    "LMS-105": Checked(
        {_LEARNERS: ("status",), _ENROLLMENTS: ("status",), _COMPLETIONS: ("state",), _SCORES: ("item_type",)},
        fixed=True,
    ),
    "LMS-106": Checked({_LEARNERS: ("username",)}, fixed=True),
    "LMS-107": Checked({_LEARNERS: ("given_name", "family_name")}, limit=255, unit="characters", bounds=(1, 65_536)),
    "LMS-108": Checked(_NAMES),
    "LMS-109": Checked(_HAS_BEEN, limit=730, unit="days ahead", bounds=(0, 36_500)),
    "LMS-110": Checked(_HAS_BEEN, limit=1990, unit="the first year", bounds=(1, 2100)),
    "LMS-111": Checked(_NAMES),
    "LMS-201": Checked(dict.fromkeys(LmsEntity, ("source_id",)), fixed=True),
    "LMS-202": Checked({_LEARNERS: ("email",)}),
    "LMS-203": Checked(dict.fromkeys(_CHILDREN, ("learner_id",)), fixed=True),
    "LMS-204": Checked(dict.fromkeys(_CHILDREN, ("course_id",)), fixed=True),
    "LMS-205": Checked({_SCORES: ("raw",)}),
    "LMS-206": Checked({_COMPLETIONS: ("completed_at",)}),
    "LMS-207": Checked({_COMPLETIONS: ("progress_pct",)}, limit=100, unit="percent", bounds=(100, 1000)),
    "LMS-208": Checked({_COMPLETIONS: ("progress_pct",)}, RuleSeverity.WARN),
    "LMS-209": Checked({_COURSES: ("ends_at",), _ENROLLMENTS: ("ends_at",)}, RuleSeverity.WARN),
    "LMS-210": Checked({_COMPLETIONS: ("completed_at",)}, RuleSeverity.WARN),
    "LMS-211": Checked({_ENROLLMENTS: ("status",), _COMPLETIONS: ("state",)}, RuleSeverity.WARN),
    # Of an LMS that keeps what somebody did in a course they left, it would be all the time.
    "LMS-212": Checked({_COMPLETIONS: ("course_id",), _SCORES: ("course_id",)}, RuleSeverity.OFF),
}

DESTINATION = ("LMS-301", "LMS-302", "LMS-303", "LMS-304", "LMS-305")
"""What a CRM would refuse: rules on single fields of the CRM, which a contract can leave to the CRM itself."""
