"""Feature switches: kept with who, when and why, wherever the store lies; what is no switch is refused in one line."""

import pytest

from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import FatalError, SwitchedOffError
from lms_crm_assets.ops.audit import AuditLog, person
from lms_crm_assets.ops.switches import Name, SwitchBoard
from tests.postgres import Place


def test_each_switch_is_kept_with_who_when_and_why_and_every_change_is_a_deed(place: Place) -> None:
    store = place.store(clock=lambda: 1_796_000_000.0)
    board = SwitchBoard(store)
    board.set("acme", {Name.CANARY: "0.050", Name.ONLY: "course, contact,course"}, "cli:ann", "careful")
    board.set("acme", {Name.PAUSE: ""}, "cli:bob", "CRM migration")

    found = board.of("acme")

    assert found.left_out == {CrmObject.ENROLLMENT, CrmObject.COMPLETION, CrmObject.COMPETENCY}
    assert found.canary_share == 0.05
    assert str(found) == (
        "paused by cli:bob since 2026-11-30 00:53 UTC (CRM migration); only contact, course, switched on by cli:ann since"
        " 2026-11-30 00:53 UTC (careful); canary 0.05, switched on by cli:ann since 2026-11-30 00:53 UTC (careful)"
    )
    with pytest.raises(SwitchedOffError, match="lms-crm switches clear --tenant acme --pause"):
        found.check_may_send()
    board.clear("acme", [Name.PAUSE], "cli:bob", "over")
    board.of("acme").check_may_send(CrmObject.COURSE)
    with pytest.raises(SwitchedOffError, match="acme: completion is left alone, only contact, course, switched on by"):
        board.of("acme").check_may_send(CrmObject.COMPLETION)
    assert (str(board.of("globex")), board.of("globex").left_out) == ("", frozenset())

    assert board.clear("acme", list(Name), "cli:bob", "over") == [Name.ONLY, Name.CANARY]
    assert board.clear("acme", list(Name), "cli:bob", "over") == []
    assert str(board.all_of(["acme", "globex"])["acme"]) == ""
    assert [(deed.actor, deed.action, deed.subject, deed.reason) for deed in AuditLog(store).deeds("acme")] == [
        ("cli:ann", "switches.set", "canary 0.05", "careful"),
        ("cli:ann", "switches.set", "only contact,course", "careful"),
        ("cli:bob", "switches.set", "pause", "CRM migration"),
        ("cli:bob", "switches.cleared", "pause", "over"),
        ("cli:bob", "switches.cleared", "only", "over"),
        ("cli:bob", "switches.cleared", "canary", "over"),
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (Name.ONLY, "contact,lead", "--only names lead; it takes some of: contact, course"),
        (Name.ONLY, " , ", "--only names nothing"),
        (Name.CANARY, "5%", "--canary 5% is no share"),
        (Name.CANARY, "1", "above 0 and below 1"),
        (Name.CANARY, "nan", "above 0 and below 1"),
    ],
)
def test_what_is_no_switch_is_refused_and_nothing_is_set(place: Place, name: Name, value: str, told: str) -> None:
    board = SwitchBoard(place.store())

    with pytest.raises(FatalError, match=told):
        board.set("acme", {Name.PAUSE: "", name: value}, "cli:ann", "")
    assert str(board.of("acme")) == ""


def test_the_person_is_who_the_environment_names_or_else_the_systems_user() -> None:
    assert person({"LMS_CRM_ACTOR": " ann "}) == "cli:ann"
    assert person({}).startswith("cli:")


def test_a_launch_asks_for_less_than_is_switched_and_never_for_more(place: Place) -> None:
    board = SwitchBoard(place.store())
    board.set("acme", {Name.ONLY: "contact,course", Name.DRY_RUN: ""}, "cli:ann", "move")
    launched = board.of("acme").launched(dry_run=True, left_out=[CrmObject.CONTACT], by="ui:bob")

    assert frozenset(CrmObject) - launched.left_out == {CrmObject.COURSE}
    assert "launched so by ui:bob" in str(launched.only)
    assert "switched on by cli:ann" in str(launched.only)
    # The switch has to be cleared: a launch is over by itself.
    assert "switches clear" in launched.why_dry
    assert board.of("acme").left_out == frozenset(CrmObject) - {CrmObject.CONTACT, CrmObject.COURSE}


def test_a_dry_launch_says_how_its_plan_is_sent(place: Place) -> None:
    launched = SwitchBoard(place.store()).of("acme").launched(dry_run=True, left_out=[], by="ui")

    assert (str(launched), launched.left_out) == ("dry run, launched so by ui", frozenset())
    with pytest.raises(SwitchedOffError, match=r"launched so by ui; nothing is sent\. To send the plan: the job apply"):
        launched.check_may_send(CrmObject.CONTACT)
