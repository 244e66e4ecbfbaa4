"""What a token may not see, in plain words."""

from collections.abc import Collection, Iterator, Mapping

from lms_crm_assets.lms.moodle import completions, grades, participants, ratings

_ALWAYS = {
    "core_user_get_users": "no learners can be read",
    "core_user_get_users_by_field": "single learners can't be read, so that changes between the full pulls are missed",
    "core_course_get_courses": "no courses can be read",
}
_BY_REPORT = {
    "core_reportbuilder_retrieve_report": "no report can be read: no enrollments, completions, scores and competencies",
    "core_reportbuilder_set_filters": "no report can be read safely: a filter that was left on it would hide rows",
    "core_course_get_courses_by_field": "courses can't be told apart in the reports",
    participants.FUNCTION: "single courses whose ID number the list withholds can't be read between the full pulls",
    grades.FUNCTION: "single courses whose ID number the list withholds can't be read between the full pulls",
}
_BY_COURSE = {
    participants.FUNCTION: "no enrollments, completions, scores and competencies can be read",
    completions.FUNCTION: "no completions can be read",
    "core_course_get_courses_by_field": "courses without completion tracking can't be told, no completions can be read",
    grades.FUNCTION: "no scores can be read, and no ID numbers of courses",
    ratings.OF_COURSE: "competencies stay empty",
    ratings.OF_PERSON: "competencies stay empty",
    "core_enrol_get_users_courses": "ratings of single learners can't be read between the full pulls",
}
_NO_DATES = (
    "without source.reports Moodle tells no dates of enrollments; who is suspended, expired or has not begun counts as"
    " suspended, and their completions, scores and competencies are not given"
)
_NO_TIMES = (
    "without source.reports Moodle tells no progress and no time of a course's completion; the time is derived from its"
    " criteria"
)
_NOT_BY_COURSE = "without a report in source.reports.competencies competencies stay empty"


def lacking(functions: Collection[str], *, by_report: bool) -> Iterator[str]:
    """What the service lacks, and what stays empty because of it."""
    needed: Mapping[str, str] = _ALWAYS | (_BY_REPORT if by_report else _BY_COURSE)
    for function, consequence in needed.items():
        if function not in functions:
            yield f"the web service of source.token lacks {function}: {consequence}"


def unknowable(*, by_report: bool, rated: bool) -> Iterator[str]:
    """What the way of reading can't tell."""
    if not by_report:
        yield from (_NO_DATES, _NO_TIMES)
    elif not rated:
        yield _NOT_BY_COURSE
