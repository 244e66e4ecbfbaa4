"""The canonical columns that a contract can map from, per CRM object.

`source_id` is the LMS's own id of the record and the value of every match key. Parents are not columns: a contract
names them under `parents`, and they are resolved by their match keys.
"""

from lms_crm_assets.domain import CrmObject, FieldType, LmsEntity

MATCH_COLUMN = "source_id"

EXTRA_COLUMN = "extra"
"""A JSON object of the LMS's attributes that have no column; every object has it. Expressions read it with `->>`."""

_TEXT, _NUMBER, _BOOLEAN, _DATETIME = FieldType.TEXT, FieldType.NUMBER, FieldType.BOOLEAN, FieldType.DATETIME

TEXTS = frozenset({FieldType.TEXT, FieldType.EMAIL})

ROLL_UPS: dict[str, FieldType] = {
    "courses_enrolled": _NUMBER,
    "courses_in_progress": _NUMBER,
    "courses_completed": _NUMBER,
    "last_enrolled_at": _DATETIME,
    "last_completed_at": _DATETIME,
    "last_completed_course": _TEXT,
    "competencies_proficient": _NUMBER,
}
"""What a learner did, as columns of the contact: for CRMs whose tier has no objects for enrollments and completions.

Enrollments count unless they were withdrawn; courses are counted once each.
"""

COLUMNS: dict[CrmObject, dict[str, FieldType]] = {
    CrmObject.CONTACT: {
        "source_id": _TEXT,
        "external_id": _TEXT,
        "username": _TEXT,
        "email": FieldType.EMAIL,
        "given_name": _TEXT,
        "family_name": _TEXT,
        "organization": _TEXT,
        "country": _TEXT,
        "status": _TEXT,
        **ROLL_UPS,
    },
    CrmObject.COURSE: {
        "source_id": _TEXT,
        "code": _TEXT,
        "external_id": _TEXT,
        "title": _TEXT,
        "visible": _BOOLEAN,
        "starts_at": _DATETIME,
        "ends_at": _DATETIME,
    },
    CrmObject.ENROLLMENT: {
        "source_id": _TEXT,
        "role": _TEXT,
        "status": _TEXT,
        "enrolled_at": _DATETIME,
        "starts_at": _DATETIME,
        "ends_at": _DATETIME,
    },
    CrmObject.COMPLETION: {
        "source_id": _TEXT,
        "state": _TEXT,
        "progress_pct": _NUMBER,
        "completed_at": _DATETIME,
        "completed_at_precision": _TEXT,
        "score": _NUMBER,
        "score_max": _NUMBER,
        "score_pct": _NUMBER,
        "passed": _BOOLEAN,
    },
    CrmObject.COMPETENCY: {
        "source_id": _TEXT,
        "code": _TEXT,
        "name": _TEXT,
        "framework": _TEXT,
        "rating": _TEXT,
        "proficient": _BOOLEAN,
        "rated_at": _DATETIME,
    },
}

_LEARNER_AND_COURSE = {"learner_id": _TEXT, "course_id": _TEXT}
_SCORES = {"score", "score_max", "score_pct", "passed"}

ENTITY_COLUMNS: dict[LmsEntity, dict[str, FieldType]] = {
    LmsEntity.LEARNERS: {n: kind for n, kind in COLUMNS[CrmObject.CONTACT].items() if n not in ROLL_UPS},
    LmsEntity.COURSES: COLUMNS[CrmObject.COURSE],
    LmsEntity.ENROLLMENTS: {**COLUMNS[CrmObject.ENROLLMENT], **_LEARNER_AND_COURSE},
    LmsEntity.COMPLETIONS: {
        **{n: kind for n, kind in COLUMNS[CrmObject.COMPLETION].items() if n not in _SCORES},
        **_LEARNER_AND_COURSE,
    },
    LmsEntity.SCORES: {
        "source_id": _TEXT,
        **_LEARNER_AND_COURSE,
        "item_id": _TEXT,
        "item_type": _TEXT,
        "raw": _NUMBER,
        "min": _NUMBER,
        "max": _NUMBER,
        "pct": _NUMBER,
        "text": _TEXT,
        "passed": _BOOLEAN,
        "graded_at": _DATETIME,
    },
    LmsEntity.COMPETENCIES: {**COLUMNS[CrmObject.COMPETENCY], **_LEARNER_AND_COURSE},
}
"""The canonical columns of the LMS's rows, which a contract's rules judge; a test keeps them and the tables equal."""

PARENTS: dict[CrmObject, frozenset[CrmObject]] = {
    CrmObject.CONTACT: frozenset(),
    CrmObject.COURSE: frozenset(),
    CrmObject.ENROLLMENT: frozenset({CrmObject.CONTACT, CrmObject.COURSE}),
    CrmObject.COMPLETION: frozenset({CrmObject.CONTACT, CrmObject.COURSE}),
    CrmObject.COMPETENCY: frozenset({CrmObject.CONTACT, CrmObject.COURSE}),
}

VOCABULARIES: dict[CrmObject, dict[str, frozenset[str]]] = {
    CrmObject.CONTACT: {"status": frozenset({"active", "suspended"})},
    CrmObject.ENROLLMENT: {
        "status": frozenset({"active", "invited", "suspended", "expired", "completed", "withdrawn"})
    },
    CrmObject.COMPLETION: {"state": frozenset({"not_started", "in_progress", "completed"})},
}
"""Columns with a closed set of words; the checks refuse every other word, and a test keeps the two equal."""

PERSONAL: dict[CrmObject, frozenset[str]] = {
    **{obj: frozenset({EXTRA_COLUMN}) for obj in CrmObject},
    CrmObject.CONTACT: frozenset({"email", "username", "given_name", "family_name", "external_id", EXTRA_COLUMN}),
}
"""Columns that tell who somebody is; what an LMS adds may do so too."""


def columns_of(what: CrmObject | LmsEntity) -> dict[str, FieldType]:
    """The columns of an object that is mapped, or of the LMS's rows."""
    return ENTITY_COLUMNS[what] if isinstance(what, LmsEntity) else COLUMNS[what]


def known_columns(what: CrmObject | LmsEntity) -> str:
    """The columns as a message lists them."""
    return ", ".join([*(column for column in columns_of(what) if column != MATCH_COLUMN), EXTRA_COLUMN])
