"""The shape of the canonical tables; each also has `source_id, source_updated_at, observed_at, row_hash`."""

from lms_crm_assets.domain import LmsEntity

_TEXT, _NUMBER, _BOOLEAN, _MOMENT = "VARCHAR", "DECIMAL(12,5)", "BOOLEAN", "TIMESTAMPTZ"
# The attributes without a column of their own, see `attributes`; null unless the contract keeps them.
_EXTRA = {"extra": "JSON"}

COLUMNS: dict[LmsEntity, dict[str, str]] = {
    LmsEntity.LEARNERS: {
        "external_id": _TEXT,
        "username": _TEXT,
        "email": _TEXT,
        "given_name": _TEXT,
        "family_name": _TEXT,
        "organization": _TEXT,
        "country": _TEXT,
        "status": _TEXT,
        **_EXTRA,
    },
    LmsEntity.COURSES: {
        "external_id": _TEXT,
        "code": _TEXT,
        "title": _TEXT,
        "visible": _BOOLEAN,
        "starts_at": _MOMENT,
        "ends_at": _MOMENT,
        **_EXTRA,
    },
    LmsEntity.ENROLLMENTS: {
        "learner_id": _TEXT,
        "course_id": _TEXT,
        "role": _TEXT,
        "status": _TEXT,
        "enrolled_at": _MOMENT,
        "starts_at": _MOMENT,
        "ends_at": _MOMENT,
        **_EXTRA,
    },
    LmsEntity.COMPLETIONS: {
        "learner_id": _TEXT,
        "course_id": _TEXT,
        "state": _TEXT,
        "progress_pct": _NUMBER,
        "completed_at": _MOMENT,
        "completed_at_precision": _TEXT,
        **_EXTRA,
    },
    LmsEntity.SCORES: {
        "learner_id": _TEXT,
        "course_id": _TEXT,
        "item_id": _TEXT,
        "item_type": _TEXT,
        "raw": _NUMBER,
        "min": _NUMBER,
        "max": _NUMBER,
        "pct": _NUMBER,
        "text": _TEXT,
        "passed": _BOOLEAN,
        "graded_at": _MOMENT,
        **_EXTRA,
    },
    LmsEntity.COMPETENCIES: {
        "learner_id": _TEXT,
        "course_id": _TEXT,
        "code": _TEXT,
        "name": _TEXT,
        "framework": _TEXT,
        "rating": _TEXT,
        "proficient": _BOOLEAN,
        "rated_at": _MOMENT,
        **_EXTRA,
    },
}

PERSONAL_COLUMNS = frozenset({"email", "username", "given_name", "family_name", "external_id", "extra"})
