"""What Moodle's answers mean: recorded errors come with HTTP 200, and a token that sees little gets little."""

from typing import Any

import pytest
import stamina

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import (
    CredentialError,
    MissingError,
    PermissionMissingError,
    ProtocolError,
    RetryableError,
    WrongAddressError,
)
from lms_crm_assets.lms.moodle import raise_for_exception
from tests.lms.moodle.site import ALL, Door, adapter, pulled, recorded

LEARNERS = LmsEntity.LEARNERS
SITE, USERS = "core_webservice_get_site_info", "core_user_get_users"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("err_bad_token", CredentialError, r"check source\.token"),
        ("err_no_access_enrolled", PermissionMissingError, "the account of source.token lacks a permission"),
        ("err_no_access_completion", PermissionMissingError, "lacks a permission"),
        ("poor_courses", PermissionMissingError, "lacks a permission"),
        ("err_unknown_function", PermissionMissingError, "the site has no such function"),
        ("err_course_not_found", MissingError, "invalidrecord"),
        ("err_user_not_found", MissingError, "invaliduser"),
        ("err_bad_param_type", ProtocolError, "invalidparameter"),
        ("users_unknown_key", ProtocolError, "warns 'invalidfieldparameter'.*can't be relied on"),
    ],
)
def test_a_recorded_error_is_an_error_though_it_comes_with_200(name: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        raise_for_exception(recorded(name))


def test_content_without_exception_and_warnings_passes() -> None:
    for name in ("site_info", "users_all_by_email_wildcard", "courses", "report_users_p0_500"):
        raise_for_exception(recorded(name))


@pytest.mark.parametrize("answer", [(200, recorded("err_db_down.txt")), (503, recorded("err_maintenance.txt"))])
def test_a_database_that_is_down_and_maintenance_pass(door: Door, answer: tuple[int, bytes]) -> None:
    answers = [answer, answer]
    door.answers[USERS] = lambda asked: answers.pop() if answers else door.ask(asked)

    with stamina.set_testing(True, attempts=9):
        assert sum(len(page.records) for page in pulled(door, [LEARNERS])) == 203


def test_a_database_that_stays_down_is_to_be_repeated_and_named(door: Door) -> None:
    door.answers[USERS] = lambda _: (200, recorded("err_db_down.txt"))

    with (
        stamina.set_testing(True, attempts=2),
        pytest.raises(RetryableError, match="Database connection failed") as caught,
    ):
        pulled(door, [LEARNERS])
    assert "<p>" not in str(caught.value)


def test_every_call_asks_for_json_and_raw_texts(door: Door) -> None:
    pulled(door, [LEARNERS, LmsEntity.COURSES])

    assert {(p["moodlewsrestformat"], p["moodlewssettingraw"]) for _, p in door.calls} == {("json", "true")}


def test_an_answer_in_xml_is_no_moodle_to_the_probe(door: Door) -> None:
    door.answers[SITE] = lambda _: recorded("err_xml_default_bad_token.txt")

    with adapter(door) as found, pytest.raises(WrongAddressError, match=r"no JSON: check source\.url"):
        found.probe()


@pytest.mark.parametrize("call", ["probe", "pull"])
def test_an_expired_token_is_told_from_a_missing_function(
    door: Door, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer says `accessexception`, and only the next one that the token is unknown."""
    monkeypatch.setenv("MOODLE", "expired")

    with adapter(door) as found, pytest.raises(CredentialError, match=r"check source\.token") as caught:
        found.probe() if call == "probe" else list(found.pull([LEARNERS], None))
    assert "expired" not in str(caught.value).replace("the token is expired", "")


def test_a_function_that_the_service_lacks_is_named(door: Door) -> None:
    info = recorded("site_info")
    lacking = {**info, "functions": [f for f in info["functions"] if f["name"] != USERS]}
    door.answers |= {USERS: lambda _: recorded("err_function_not_in_service"), SITE: lambda _: lacking}

    with pytest.raises(PermissionMissingError, match=f"refuses {USERS}: add it to the web service of source.token"):
        pulled(door, [LEARNERS])


@pytest.mark.parametrize("reports", [None, {"participants": 1, "users": 2}])
def test_a_token_that_sees_only_itself_is_no_empty_school(
    door: Door, monkeypatch: pytest.MonkeyPatch, reports: Any
) -> None:
    assert [user["username"] for user in recorded("err_no_access_users")["users"]] == ["svc_poor"]
    monkeypatch.setenv("MOODLE", "poor")

    with pytest.raises(PermissionMissingError, match=r"source\.token sees no user but itself: give its role"):
        pulled(door, ALL, reports=reports)


def test_no_users_at_all_are_no_empty_school_either(door: Door) -> None:
    door.answers[USERS] = lambda _: {"users": [], "warnings": []}

    with pytest.raises(PermissionMissingError):
        pulled(door, [LEARNERS])


def test_without_the_capabilities_of_the_activities_grades_vanish_without_a_word() -> None:
    """Nothing in an answer tells of it: docs/moodle.md asks for these capabilities."""
    answer = recorded("grade_items_one_user__without_mod_view_cap")
    raise_for_exception(answer)
    assert [item["itemtype"] for item in answer["usergrades"][0]["gradeitems"]] == ["course"]
