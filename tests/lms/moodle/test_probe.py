"""The probe tells in plain words what stays empty, and fails where nothing can be read."""

import re
from typing import Any

import pytest

from lms_crm_assets.errors import FatalError, PermissionMissingError, ProtocolError
from tests.lms.moodle.site import Door, adapter, recorded

SITE = "core_webservice_get_site_info"


def probed(door: Door, *without: str, **changes: Any) -> list[str]:
    info = recorded("site_info")
    kept = [function for function in info["functions"] if function["name"] not in without]
    door.answers[SITE] = lambda _: {**info, "functions": kept}
    with adapter(door, **changes) as found:
        return found.probe()


def test_with_all_functions_and_reports_there_is_nothing_to_say(door: Door) -> None:
    assert probed(door) == []


def test_without_reports_it_says_what_moodle_does_not_tell(door: Door) -> None:
    said = probed(door, reports=None)

    assert len(said) == 2
    assert "counts as suspended" in said[0]
    assert "derived from its criteria" in said[1]


def test_each_function_that_is_missing_is_named_with_what_stays_empty(door: Door) -> None:
    said = probed(
        door, "core_completion_get_course_completion_status", "report_competency_data_for_report", reports=None
    )

    assert said[:2] == [
        "the web service of source.token lacks core_completion_get_course_completion_status: no completions can be read",
        "the web service of source.token lacks report_competency_data_for_report: competencies stay empty",
    ]
    (sentence,) = probed(door, "core_reportbuilder_set_filters")
    assert "lacks core_reportbuilder_set_filters: no report can be read safely" in sentence
    assert probed(door, reports={"participants": 1}) == [
        "without a report in source.reports.competencies competencies stay empty"
    ]


def test_rows_of_courses_without_a_number_are_told(door: Door) -> None:
    assert probed(door) == []
    door.mutate(object="courses", op="update", id=2, fields={"idnumber": ""})

    (sentence,) = probed(door)

    assert re.match(
        r"of the first \d+ rows of the participants report 199 are of courses without an ID number:", sentence
    )
    assert sentence.endswith("are quarantined; give every course an ID number")


def test_an_account_that_sees_nobody_else_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOODLE", "poor")

    with adapter(door) as found, pytest.raises(PermissionMissingError, match="sees no user but itself"):
        found.probe()


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ({"participants": 99}, r"the report 99 does not exist: check source\.reports\.participants"),
        ({"participants": 3}, r"the report 3 has the columns"),
        ({"participants": 1, "users": 3}, r"change the report or source\.reports\.users"),
        ({"participants": 1, "competencies": 99}, r"check source\.reports\.competencies"),
    ],
)
def test_a_report_that_is_missing_or_has_other_columns_is_an_error(door: Door, reports: Any, said: str) -> None:
    with pytest.raises(FatalError, match=said):
        probed(door, reports=reports)


@pytest.mark.parametrize(
    "answer", [[], {}, {"functions": []}, {"userid": "x", "functions": []}, {"userid": 1, "functions": [1]}]
)
def test_what_is_no_moodle_is_named(door: Door, answer: Any) -> None:
    door.answers[SITE] = lambda _: answer

    with adapter(door) as found, pytest.raises(ProtocolError, match=r"not as a Moodle does: check source\.url"):
        found.probe()
