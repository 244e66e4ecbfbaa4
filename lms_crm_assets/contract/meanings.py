"""What each canonical column means, in a line: for the contract's reference and for the Dagster UI."""

from collections.abc import Mapping

from lms_crm_assets.contract.canonical import EXTRA_COLUMN
from lms_crm_assets.domain import CrmObject, LmsEntity

_EVERYWHERE = {
    "source_id": "The LMS's own id of the record; fills the match key.",
    "learner_id": "The `source_id` of the learner.",
    "course_id": "The `source_id` of the course.",
    EXTRA_COLUMN: "With `unknown_attributes: keep` the LMS's attributes that have no column, as JSON; read with `->>`.",
}
_COURSE = {
    "external_id": "The id that another system, a catalogue say, has for the course.",
    "code": "The short name by which people know the course.",
    "title": "The full name.",
    "visible": "Whether learners see the course.",
    "starts_at": "When the course begins.",
    "ends_at": "When the course ends.",
}
_ENROLLMENT = {
    "role": "The learner's part in the course, in the LMS's word.",
    "status": "How the enrollment stands.",
    "enrolled_at": "When it was made.",
    "starts_at": "From when on the learner may take the course.",
    "ends_at": "Until when.",
}
_COMPLETION = {
    "state": "How far the learner is.",
    "progress_pct": "How much of the course is done, in percent.",
    "completed_at": "When the course was completed.",
    "completed_at_precision": "How well that moment is known: `exact`, `minute`, `derived` from something else, or `unknown`.",
}
_COMPETENCY = {
    "code": "The competency's short name in its framework.",
    "name": "The competency's full name.",
    "framework": "The framework that the competency belongs to.",
    "rating": "The rating, a word of its scale.",
    "proficient": "Whether the rating counts as proficient.",
    "rated_at": "When the learner was rated.",
}
_LEARNER = {
    "external_id": "The id that another system, a student register say, has for the learner.",
    "username": "The name that the learner signs in with.",
    "email": "The learner's own address.",
    "given_name": "The first name.",
    "family_name": "The last name.",
    "organization": "The company, institution or school.",
    "country": "The country, as the LMS writes it.",
    "status": "Whether the account may be used.",
}

_MEANINGS: Mapping[CrmObject | LmsEntity, Mapping[str, str]] = {
    LmsEntity.LEARNERS: _LEARNER,
    LmsEntity.COURSES: _COURSE,
    LmsEntity.ENROLLMENTS: _ENROLLMENT,
    LmsEntity.COMPLETIONS: _COMPLETION,
    LmsEntity.SCORES: {
        "item_id": "What was graded, by the LMS's id of it.",
        "item_type": "`course` for the whole course, `activity` for a part of it.",
        "raw": "The points, from `min` to `max` where these are given.",
        "min": "The lowest points there are.",
        "max": "The highest points there are.",
        "pct": "The score in percent, where the LMS tells it; above 100 with extra credit.",
        "text": "A score that is no number, like `B+`.",
        "passed": "Whether it is enough to pass.",
        "graded_at": "When it was graded.",
    },
    LmsEntity.COMPETENCIES: _COMPETENCY,
    CrmObject.CONTACT: {
        **_LEARNER,
        "courses_enrolled": "Courses with an enrollment that was not withdrawn.",
        "courses_in_progress": "Courses that are begun and not completed.",
        "courses_completed": "Courses that are completed.",
        "last_enrolled_at": "When the newest enrollment was made.",
        "last_completed_at": "When a course was completed last.",
        "last_completed_course": "The title of that course, or its code.",
        "competencies_proficient": "Competencies with a proficient rating.",
    },
    CrmObject.COURSE: _COURSE,
    CrmObject.ENROLLMENT: _ENROLLMENT,
    CrmObject.COMPLETION: {
        **_COMPLETION,
        "score": "The points of the course's newest grade.",
        "score_max": "The highest points of that grade.",
        "score_pct": "That grade in percent.",
        "passed": "Whether that grade is enough to pass.",
    },
    CrmObject.COMPETENCY: _COMPETENCY,
}


def meaning_of(what: CrmObject | LmsEntity, column: str) -> str:
    """What a canonical column of an object, or of the LMS's rows, means."""
    return _MEANINGS[what].get(column) or _EVERYWHERE[column]
