"""Moodle's recorded deliveries, as the plugins sent them, and what else the plugins can send."""

import json
from pathlib import Path
from typing import Any

import pytest

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints import Hints, Lead
from tests.hints.tenant import BY_REPORT, MOODLE, RECORDINGS, from_lms, keys

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES, COMPETENCIES = LmsEntity
MEMBER = {"enrollments": "205:2", "completions": "205:2", "scores": "205:2:course"}
WEBHOOKS: dict[str, dict[str, str]] = {
    "0001_core_event_user_created": {"learners": "205"},
    "0002_core_event_user_enrolment_created": MEMBER,
    "0003_core_event_role_assigned": MEMBER,
    "0004_core_event_course_module_completion_updated": {"completions": "205:2"},
    "0005_core_event_user_graded": {"scores": "205:2:course"},
    "0006_core_event_user_graded": {"scores": "205:2:course"},
    "0007_core_event_course_completed": {"completions": "205:2"},
    "0008_core_event_competency_evidence_created": {"competencies": "205:2:1"},
    "0009_core_event_competency_evidence_created": {"competencies": "205:2:2"},
    "0010_core_event_course_module_completion_updated": {"completions": "205:2"},
    "0011_core_event_competency_evidence_created": {"competencies": "205:2:1"},
    "0012_core_event_competency_user_competency_rated_in_course": {"competencies": "205:2:1"},
    "0013_core_event_user_updated": {"learners": "205"},
    "0014_core_event_user_enrolment_updated": MEMBER,
    "0015_core_event_role_unassigned": MEMBER,
    "0016_core_event_course_module_completion_updated": {"completions": "205:2"},
    "0017_core_event_user_enrolment_deleted": MEMBER,
    "0018_core_event_user_deleted": {"learners": "205"},
    "0019_core_event_course_updated": {"courses": "2"},
    "0020_core_event_user_created": {"learners": "206"},
}
BY = "LMS-503 {} by email"
# (entity, rest of the key, event) of each statement of a batch but the last, which is about the course itself.
REST = {ENROLLMENTS: ":2", COMPLETIONS: ":2", SCORES: ":2:course"}
STATEMENTS = [
    (LEARNERS, "", "user_created"),
    *((entity, rest, "user_enrolment_created") for entity, rest in REST.items()),
    (COMPLETIONS, ":2", "course_module_completion_updated"),
    (COMPLETIONS, ":2", "course_completed"),
    *((entity, rest, "user_enrolment_deleted") for entity, rest in REST.items()),
]
BATCHES = {
    "0001_batch": "",
    "0002_batch": "",
    "0003_batch": "live1795475510@acme.test",
    "0021_batch": "live1795474605@acme.test",
}


def recorded(kind: str, name: str) -> Any:
    return json.loads((RECORDINGS / kind / f"{name}.json").read_text())["body"]


def event(name: str, **members: Any) -> dict[str, Any]:
    return {"eventname": f"\\core\\event\\{name}", "crud": "u", "userid": "2", **members}


def test_every_recorded_delivery_is_expected() -> None:
    of = {
        kind: {Path(file).stem for file in (RECORDINGS / kind).iterdir()} for kind in ("moodle_webhooks", "moodle_xapi")
    }

    assert of == {"moodle_webhooks": set(WEBHOOKS), "moodle_xapi": set(BATCHES)}


@pytest.mark.parametrize("name", WEBHOOKS)
def test_a_recorded_webhook_touches(name: str) -> None:
    assert from_lms(MOODLE, recorded("moodle_webhooks", name)) == Hints(keys(**WEBHOOKS[name]))


@pytest.mark.parametrize("name", WEBHOOKS)
def test_by_report_only_the_keys_of_ratings_differ(name: str) -> None:
    found = from_lms(BY_REPORT, recorded("moodle_webhooks", name))

    any_of_hers = {"competencies": "205:"} if "competencies" in WEBHOOKS[name] else {}
    assert found == Hints(keys(**{**WEBHOOKS[name], **any_of_hers}))


@pytest.mark.parametrize("name", BATCHES)
def test_a_recorded_batch_of_statements_touches(name: str) -> None:
    found = from_lms(MOODLE, recorded("moodle_xapi", name))

    if not (email := BATCHES[name]):
        assert found == Hints()
        return
    # The learner's account was deleted when the batch was sent: its username tells the address that it had.
    assert found.lms == keys(courses="2")
    assert found.leads == {Lead(entity, "email", email, rest, event) for entity, rest, event in STATEMENTS}
    assert found.unknown == tuple(sorted({BY.format(event) for _, _, event in STATEMENTS}))


def test_a_batch_s_learner_who_is_looked_up_is_a_key() -> None:
    found = from_lms(MOODLE, recorded("moodle_xapi", "0003_batch"))

    resolved = found.resolved({("email", BATCHES["0003_batch"]): "205"})

    assert resolved == Hints(keys(courses="2", learners="205", **MEMBER))
    assert found.resolved({("email", "somebody@else.test"): "7", ("username", BATCHES["0003_batch"]): "8"}) == found


@pytest.mark.parametrize("name", ["ada", "ada@acme.test", "ada.1795475511", "ada@acme.test.12345678"])
def test_the_name_of_a_living_account_is_looked_up_as_it_is(name: str) -> None:
    [lead] = from_lms(MOODLE, statement("user_updated", {"account": {"name": name}})).leads

    assert (lead.by, lead.value) == ("username", name)


def test_looking_up_one_of_two_learners_leaves_the_other() -> None:
    def created(who: str) -> Any:
        return statement("user_created", {"mbox": f"mailto:{who}"})

    both = from_lms(MOODLE, [created("Ada@acme.test"), created("bob@acme.test")])
    one = both.resolved({("email", "ada@acme.test"): "5"})

    assert one.lms == keys(learners="5")
    assert one.unknown == both.unknown == ("LMS-503 user_created by email",)
    assert {lead.value for lead in one.leads} == {"bob@acme.test"}
    assert "acme" not in repr(both)


def statement(name: str, actor: Any, thing: Any = None, **around: Any) -> Any:
    info = "http://lrs.learninglocker.net/define/extensions/info"
    context = {"extensions": {info: {"event_name": f"\\core\\event\\{name}"}}, "contextActivities": around}
    return {"actor": actor, "verb": {"id": "http://verb.test"}, "object": thing, "context": context}


SITE = "https://moodle.test"
FIVE = {"account": {"homePage": SITE, "name": "5"}}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (statement("user_created", FIVE), keys(learners="5")),
        (statement("user_deleted", FIVE, {"account": {"name": "9"}}), keys(learners="5 9")),
        (statement("user_updated", FIVE, {"id": f"{SITE}/user/profile.php?id=9"}), keys(learners="5 9")),
        (statement("course_completed", FIVE, {"id": f"{SITE}/course/view.php?id=12"}), keys(completions="5:12")),
        (
            statement("user_graded", FIVE, {"id": f"{SITE}/mod/quiz/view.php?id=1"}, grouping=[{"id": f"{SITE}/course/view.php?section=1&id=12#x"}]),
            keys(scores="5:12:course"),
        ),
        (
            statement("competency_user_competency_rated_in_course", FIVE, {"id": f"{SITE}/admin/tool/lp/x.php?userid=5&competencyid=3"}, parent={"id": f"{SITE}/course/view.php?id=12"}),
            keys(competencies="5:12:3"),
        ),
    ],
)  # fmt: skip
def test_a_statement_with_an_id_has_a_key(told: Any, expected: Any) -> None:
    assert from_lms(MOODLE, told) == from_lms(MOODLE, [told]) == Hints(expected)


@pytest.mark.parametrize(
    ("told", "unknown"),
    [
        (statement("user_created", {"objectType": "Agent"}), "LMS-503 user_created"),
        (statement("course_completed", FIVE, {"id": f"{SITE}/course/view.php?name=5"}), "LMS-503 course_completed"),
        (statement("course_updated", FIVE, {"id": SITE}), "LMS-503 course_updated"),
        (statement("badge_awarded", FIVE), "LMS-501 badge_awarded"),
        ({"actor": FIVE, "verb": {}}, "LMS-502 xapi"),
        (statement("user_graded", FIVE, {"id": "/course/view.php?id=" + "9" * 3000}), "LMS-503 user_graded"),
    ],
)
def test_a_statement_without_a_key_is_named(told: Any, unknown: str) -> None:
    assert from_lms(MOODLE, told) == Hints(unknown=(unknown,))


@pytest.mark.parametrize("value", [205, "205", "0205"])
def test_ids_are_numbers_or_texts(value: Any) -> None:
    assert from_lms(MOODLE, event("user_graded", relateduserid=value, courseid="2")) == Hints(
        keys(scores="205:2:course")
    )


@pytest.mark.parametrize("value", [None, 0, "0", -1, "-1", "", " 5", "5 ", "٣", "5.0", 5.0, True, [], {}, "9" * 20])
def test_what_is_no_id_is_no_key(value: Any) -> None:
    found = from_lms(MOODLE, event("user_graded", relateduserid=value, courseid=2))

    assert found == Hints(unknown=("LMS-503 user_graded",))


def test_the_learner_is_never_the_one_who_acted() -> None:
    assert from_lms(MOODLE, event("user_graded", courseid=2)).lms == frozenset()


def test_what_only_read_and_roles_outside_of_courses_touch_nothing() -> None:
    assert from_lms(MOODLE, event("course_viewed", crud="r", courseid="2")) == Hints()
    assert from_lms(MOODLE, event("role_assigned", relateduserid=5, courseid=0)) == Hints()


def test_a_rating_without_a_course_is_the_learner_s() -> None:
    told = event("competency_user_competency_rated", relateduserid=5, courseid=0, other={"competencyid": "3"})

    assert from_lms(MOODLE, told) == Hints(keys(competencies="5:3"))
    assert from_lms(BY_REPORT, told) == Hints(keys(competencies="5:"))


def test_ratings_that_are_not_read_are_not_asked_for() -> None:
    told = event("competency_evidence_created", relateduserid=5, courseid=2, other={"competencyid": 3})

    assert from_lms({**MOODLE, "reports": {"participants": 1}}, told) == Hints()


def test_a_competency_that_changed_for_everybody_has_no_key() -> None:
    assert from_lms(MOODLE, event("competency_updated", objectid=3)).unknown == ("LMS-503 competency_updated",)


def test_another_type_is_named() -> None:
    assert from_lms(MOODLE, event("cohort_member_added", relateduserid=5)).unknown == ("LMS-501 cohort_member_added",)
    other = {"eventname": "\\mod_quiz\\event\\attempt_submitted", "crud": "u"}
    assert from_lms(MOODLE, other).unknown == ("LMS-501 unnamed",)
