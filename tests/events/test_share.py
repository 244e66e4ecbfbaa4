"""What a run takes from the inbox, and what becomes of each event."""

import base64
import json
from collections.abc import Collection
from pathlib import Path

import pytest
from pydantic import SecretStr

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.events.share import MOST_ATTEMPTS, Share, Taken, pause_seconds, settle, take
from lms_crm_assets.hints.found import By
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side, State
from lms_crm_assets.ops.inbox_schema import INBOX
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.store import OperationalStore
from tests.ops.clock import Clock

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES, _ = LmsEntity


def nobody(_named: Collection[tuple[By, str]]) -> dict[tuple[By, str], str]:
    return {}


class Box:
    """An inbox of tenant acme whose clock stands."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        key = KeyRing.of(SecretStr(base64.b64encode(b"k" * 32).decode()))
        self.inbox = Inbox(OperationalStore(folder, self.clock, schema=INBOX), key)
        self._number = 0

    def deliver(self, kind: str, *items: tuple[str, str]) -> None:
        self._number += 1
        data = {"items": [{"entity": entity, "id": key} for entity, key in items]} if items else {}
        body = json.dumps({"type": kind, "data": data}).encode()
        self.inbox.add([Delivery("acme", Side.LMS, str(self._number), "application/json", body)])

    def states(self) -> list[State]:
        return [event.state for event in self.inbox.find("acme")]

    def notes(self) -> list[str]:
        return [event.note for event in self.inbox.find("acme")]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.fixture
def contract(monkeypatch: pytest.MonkeyPatch) -> Contract:
    monkeypatch.setenv("T", "unused")
    text = json.dumps(
        {
            "version": 2,
            "tenant": "acme",
            "source": {"adapter": "changes", "url": "https://lms.test", "token": "env:T"},
            "destination": {"adapter": "hubspot", "url": "https://crm.test", "access_token": "env:T"},
            "objects": {"contact": {"to": "contacts", "match_key": "k", "fields": {"lastname": "family_name"}}},
        }
    )
    return parse_contract(text, Path("tenants/acme.yaml"), {"T": "unused"})


def test_many_events_are_few_keys(box: Box, contract: Contract) -> None:
    for _ in range(3):
        box.deliver("changes", ("learners", "b"), ("learners", "a"))
    box.deliver("changes", ("courses", "c"))

    share = take(box.inbox, contract, nobody)

    assert share.keys == {LEARNERS: ["a", "b"], COURSES: ["c"]}
    assert box.states() == [State.LEASED] * 4
    assert take(box.inbox, contract, nobody).events == []


def test_a_share_is_handed_on_as_a_file(box: Box, contract: Contract, tmp_path: Path) -> None:
    box.deliver("changes", ("learners", "a"))
    share = take(box.inbox, contract, nobody)
    share.unseen = {(LEARNERS, "a")}
    share.save(tmp_path / "events" / "run.json")

    assert Share.load(tmp_path / "events" / "run.json") == share
    assert Share.load(tmp_path / "events" / "other.json") == Share()


def test_what_tells_nothing_that_could_be_asked_for_is_parked_with_the_reason(box: Box, contract: Contract) -> None:
    box.deliver("survey.answered")

    assert take(box.inbox, contract, nobody).events == []
    assert box.states() == [State.PARKED]
    assert box.notes() == ["LMS-501 survey.answered"]


def test_a_row_that_was_never_seen_is_tried_again_later_and_in_the_end_parked(box: Box, contract: Contract) -> None:
    box.deliver("changes", ("learners", "a"))
    box.deliver("changes", ("learners", "b"))
    settled = []
    for attempt in range(1, MOST_ATTEMPTS + 1):
        share = take(box.inbox, contract, nobody)
        assert [event.attempts for event in share.events] == [attempt] * (2 if attempt == 1 else 1)
        share.unseen = {(LEARNERS, "a")}
        settled.append(settle(box.inbox, share))
        # Not due yet.
        assert take(box.inbox, contract, nobody).events == []
        box.clock.now += pause_seconds(attempt)

    assert [(each.done, each.retried, each.parked) for each in settled] == [
        (1, 1, 0),
        *[(0, 1, 0)] * (MOST_ATTEMPTS - 2),
        (0, 0, 1),
    ]
    assert box.states() == [State.PARKED, State.DONE]
    assert box.notes()[0] == "LMS-505 the LMS does not show it"


def test_who_has_just_been_enrolled_has_no_score_that_would_be_waited_for(box: Box) -> None:
    enrollment, score = (ENROLLMENTS, "5:2"), (SCORES, "5:2:course")
    share = Share(
        [
            Taken(1, 1, [enrollment, (COMPLETIONS, "5:2"), score]),
            Taken(2, 1, [score]),
            Taken(3, 1, [enrollment, (SCORES, "5:23:course")]),
            Taken(4, 1, [(ENROLLMENTS, "6:2"), (SCORES, "6:2:course")]),
        ],
        unseen={score, (SCORES, "5:23:course"), (ENROLLMENTS, "6:2"), (SCORES, "6:2:course")},
    )
    for n in range(4):
        box.deliver("changes", ("learners", str(n)))
    assert len(box.inbox.lease("acme", 10, 60)) == 4

    settled = settle(box.inbox, share)

    assert (settled.done, settled.retried) == (1, 3)
    assert box.states() == [State.DONE, *[State.PENDING] * 3]


def test_the_events_of_a_run_that_was_killed_come_back(box: Box, contract: Contract) -> None:
    box.deliver("changes", ("learners", "a"))
    assert take(box.inbox, contract, nobody).keys == {LEARNERS: ["a"]}
    box.clock.now += 901

    assert take(box.inbox, contract, nobody).keys == {LEARNERS: ["a"]}


def test_pauses_double_up_to_ten_minutes() -> None:
    assert [pause_seconds(n) for n in (1, 2, 3, 7, 8, 20)] == [5, 10, 20, 320, 600, 600]


CONTACT, COURSE, ENROLLMENT, COMPLETION, COMPETENCY = CrmObject


@pytest.mark.parametrize(
    ("touched", "concerned"),
    [
        ([LEARNERS], {CONTACT}),
        ([COURSES], {CONTACT, COURSE}),  # whose roll-ups name it
        # Their parents may be new to the CRM, or have roll-ups of them.
        ([ENROLLMENTS], {CONTACT, COURSE, ENROLLMENT}),
        ([SCORES], {CONTACT, COURSE, COMPLETION}),
        ([], set()),
    ],
)
def test_a_run_has_to_do_with_what_its_events_touch(touched: list[LmsEntity], concerned: set[CrmObject]) -> None:
    share = Share([Taken(1, 1, [(entity, "1") for entity in touched])])

    assert (share.entities, share.objects) == (set(touched), concerned)


def test_where_learners_or_courses_come_or_go_it_has_to_do_with_everything(tmp_path: Path) -> None:
    share = Share([Taken(1, 1, [(LEARNERS, "1")], [(COMPETENCY, "77")])])
    assert share.objects == {CONTACT, COMPETENCY}
    share.everything = True
    share.save(tmp_path / "share.json")

    found = Share.load(tmp_path / "share.json")

    assert (found.entities, found.objects) == (set(LmsEntity), set(CrmObject))
    assert found.crm_ids == {COMPETENCY: ["77"]}
