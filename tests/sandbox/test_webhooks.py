"""Webhooks of the simulated systems over real HTTP; signatures are judged by a library of others."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from lms_crm_assets.contract.models import MoodleSource
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints import moodle as moodle_hints
from lms_crm_assets.hints.found import Key
from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.sandbox.moodle import MoodleSimulator
from lms_crm_assets.sandbox.oneroster import OneRosterSimulator
from lms_crm_assets.sandbox.school import SchoolSimulator
from lms_crm_assets.sandbox.webhooks import Subscription, outbox
from lms_crm_assets.sandbox.webhooks.outbox import Outbox
from lms_crm_assets.sandbox.webhooks.standard import StandardVoice
from tests.sandbox.hubspot_portal import CONTACTS, JSON
from tests.sandbox_control import mutate, records
from tests.simulator_server import serving
from tests.webhook_catcher import Catcher, Caught, catching, delivered, subscribe

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes ...").decode()
CLIENT_SECRET = "the client's secret"


@pytest.fixture(scope="module")
def school() -> Iterator[str]:
    with serving(SchoolSimulator(learners=60, courses=4, enrollments=120)) as address:
        yield address


@pytest.fixture(scope="module")
def portal() -> Iterator[str]:
    with serving(HubSpotSimulator(requests_per_10_seconds=None)) as address:
        yield address


@pytest.fixture
def catcher(school: str, portal: str) -> Iterator[Catcher]:
    for address in (school, portal):
        httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    with catching() as found:
        yield found
        for address in (school, portal):
            subscribe(address)


def rename(school: str, *numbers: int) -> list[str]:
    ids = [f"lrn-{number:07d}" for number in numbers]
    for each in ids:
        mutate(school, object="learners", op="update", id=each, fields={"family_name": "Changed"})
    return ids


def learners(school: str, number: int) -> list[int]:
    """The numbers of so many learners that live."""
    return [int(row["id"][4:]) for row in records(school, "learners")[:number]]


def verified(caught: Caught) -> Any:
    return Webhook(SECRET).verify(caught.body, caught.headers)


def test_a_change_in_the_school_is_told_with_a_standard_signature(school: str, catcher: Catcher) -> None:
    assert subscribe(school, url=catcher.url, secret=SECRET) == {
        "url": catcher.url, "changed": 0, "dropped": 0, "overflowed": 0, "sent": 0, "acknowledged": 0, "given_up": 0,
        "waiting": 0, "answers": {},
    }  # fmt: skip
    row = mutate(school, object="scores", op="create", fields={"raw": 7})
    mutate(school, object="scores", op="delete", id=row["id"])

    told = delivered(school)
    assert (told["changed"], told["sent"], told["acknowledged"], told["answers"]) == (2, 2, 2, {"202": 2})
    events = sorted((verified(each) for each in catcher.caught), key=lambda event: str(event["type"]))
    assert events[0] == {
        "type": "score.created", "timestamp": row["updated_at"], "data": {"entity": "scores", "id": row["id"]}
    }  # fmt: skip
    assert events[1]["type"] == "score.deleted"


def test_many_changes_go_together_where_that_is_asked_for(school: str, catcher: Catcher) -> None:
    subscribe(school, url=catcher.url, secret=SECRET, shuffle=True, together=500)
    ids = rename(school, *learners(school, 12))

    delivered(school)
    items = []
    for caught in catcher.caught:
        event = verified(caught)
        items += event["data"].get("items", [event["data"]])
        assert event["type"] in {"changes", "learner.updated"}
    assert sorted(item["id"] for item in items) == ids
    assert {item["entity"] for item in items} == {"learners"}


@pytest.mark.parametrize("status", [500, 503, 429, 408, 302])
def test_what_may_pass_is_sent_again_under_the_same_id(school: str, catcher: Catcher, status: int) -> None:
    catcher.answers = [status, status]
    subscribe(school, url=catcher.url, secret=SECRET)
    rename(school, *learners(school, 1))

    told = delivered(school)
    assert told["answers"] == {str(status): 2, "202": 1}
    assert (told["sent"], told["acknowledged"]) == (1, 1)
    assert len({caught.headers["webhook-id"] for caught in catcher.caught}) == 1
    assert len({str(verified(caught)) for caught in catcher.caught}) == 1


def test_a_receiver_that_is_not_there_is_asked_again_until_it_is(
    school: str, catcher: Catcher, unused_port: int
) -> None:
    subscribe(school, url=f"http://127.0.0.1:{unused_port}/hook", secret=SECRET)
    rename(school, *learners(school, 1))
    told = delivered(school, until=lambda told: told["answers"].get("none", 0) >= 2)
    assert told["waiting"] == 1
    # A new subscription begins with nothing that waits.
    assert subscribe(school, url=catcher.url, secret=SECRET)["waiting"] == 0


def test_what_is_refused_is_given_up(school: str, catcher: Catcher) -> None:
    catcher.answers = [401]
    subscribe(school, url=catcher.url, secret=SECRET)
    rename(school, *learners(school, 2))
    told = delivered(school)
    assert (told["given_up"], told["acknowledged"]) == (1, 1)


def test_a_share_is_lost_the_rest_is_shuffled_and_some_come_twice(school: str, catcher: Catcher) -> None:
    subscribe(school, url=catcher.url, secret=SECRET, drop=0.3, twice=0.5, shuffle=True, seed=7)
    ids = rename(school, *learners(school, 40))

    told = delivered(school)
    assert told["changed"] == told["dropped"] + told["acknowledged"] == 40
    assert 4 <= told["dropped"] <= 20
    came = {caught.headers["webhook-id"]: verified(caught)["data"]["id"] for caught in catcher.caught}
    assert len(catcher.caught) > len(came) == told["acknowledged"]
    order = list(came.values())
    assert set(order) < set(ids)
    assert order != sorted(order)


def test_a_reset_and_an_empty_object_end_it(school: str, catcher: Catcher) -> None:
    for end in ("reset", "webhooks"):
        subscribe(school, url=catcher.url, secret=SECRET)
        assert httpx.post(f"{school}/_sandbox/{end}", json={}).status_code == 200
        assert httpx.get(f"{school}/_sandbox/webhooks").json() == {"url": None}
        rename(school, *learners(school, 1))
    assert catcher.caught == []


def signature(caught: Caught, url: str) -> str:
    """HubSpot's v3 signature, as its documentation tells to compute it."""
    signed = b"POST" + url.encode() + caught.body + caught.headers["x-hubspot-request-timestamp"].encode()
    return base64.b64encode(hmac.digest(CLIENT_SECRET.encode(), signed, hashlib.sha256)).decode()


def events_of(catcher: Catcher) -> list[dict[str, Any]]:
    found = []
    for caught in catcher.caught:
        assert caught.headers["x-hubspot-signature-v3"] == signature(caught, catcher.url)
        found += json.loads(caught.body)
    return sorted(found, key=lambda event: int(event["eventId"]))


def test_changes_in_the_portal_are_told_with_their_source(portal: str, catcher: Catcher) -> None:
    subscribe(portal, url=catcher.url, secret=CLIENT_SECRET)
    token = {"Authorization": "Bearer pat-sandbox"}
    made = httpx.post(f"{portal}{CONTACTS}", json={"properties": {"lms_user_id": "1"}}, headers=token).json()["id"]
    mutate(portal, object="contacts", op="update", id=made, properties={"firstname": "Ann", "lastname": "Lee"})
    httpx.patch(f"{portal}{CONTACTS}/{made}", content=b'{"properties":{"firstname":"Ann"}}', headers={**token, **JSON})
    made_too = mutate(portal, object="contacts", op="create", properties={"lms_user_id": "2"})["id"]
    course = mutate(portal, object="courses", op="create", properties={"hs_course_name": "A"})["id"]
    for op in ("associate", "dissociate"):
        mutate(portal, object="contacts", op=op, id=made, to={"object": "courses", "id": course})
    mutate(portal, object="contacts", op="merge", id=made_too, into={"id": made})
    for op in ("archive", "restore"):
        mutate(portal, object="courses", op=op, id=course)

    delivered(portal)
    events = events_of(catcher)
    assert [(event["subscriptionType"], event["objectTypeId"], event["changeSource"]) for event in events] == [
        ("contact.creation", "0-1", "INTEGRATION"),
        # The call that changes nothing is no event.
        ("contact.propertyChange", "0-1", "CRM_UI"),
        ("contact.propertyChange", "0-1", "CRM_UI"),
        ("contact.creation", "0-1", "CRM_UI"),
        ("object.creation", "0-410", "CRM_UI"),
        ("contact.associationChange", "0-1", "CRM_UI"),
        ("contact.associationChange", "0-1", "CRM_UI"),
        ("contact.merge", "0-1", "CRM_UI"),
        ("object.deletion", "0-410", "CRM_UI"),
        ("object.restore", "0-410", "CRM_UI"),
    ]
    assert {(event["portalId"], event["attemptNumber"]) for event in events} == {(12345678, 0)}
    assert (events[1]["objectId"], events[1]["propertyName"], events[1]["propertyValue"]) == (
        int(made),
        "firstname",
        "Ann",
    )
    assert (events[5]["fromObjectId"], events[5]["toObjectId"]) == (int(made), int(course))
    assert [event["associationRemoved"] for event in events[5:7]] == [False, True]
    assert (events[7]["primaryObjectId"], events[7]["mergedObjectIds"]) == (int(made), [int(made_too)])


def test_the_portal_tells_only_the_sources_that_are_asked_for(portal: str, catcher: Catcher) -> None:
    subscribe(portal, url=catcher.url, secret=CLIENT_SECRET, sources=["CRM_UI"])
    token = {"Authorization": "Bearer pat-sandbox"}
    httpx.post(f"{portal}{CONTACTS}", json={"properties": {"lms_user_id": "1"}}, headers=token).raise_for_status()
    mutate(portal, object="contacts", op="create", properties={"lms_user_id": "2"})
    assert delivered(portal)["changed"] == 1


def test_an_attempt_of_the_portal_has_its_number(portal: str, catcher: Catcher) -> None:
    catcher.answers = [500]
    subscribe(portal, url=catcher.url, secret=CLIENT_SECRET)
    mutate(portal, object="contacts", op="create", properties={"lms_user_id": "1"})
    delivered(portal)
    assert [event["attemptNumber"] for event in events_of(catcher)] == [0, 1]


def test_moodle_posts_its_events_once_with_the_token_in_the_body(catcher: Catcher) -> None:
    with serving(MoodleSimulator()) as moodle:
        subscribe(moodle, url=catcher.url, secret="hook-secret-token")
        mutate(moodle, object="users", op="update", id=6, fields={"lastname": "Changed"})
        mutate(moodle, object="courses", op="update", id=2, fields={"fullname": "Changed"})
        enrolment = records(moodle, "enrolments")[0]
        user, course = enrolment["userid"], enrolment["courseid"]
        mutate(
            moodle, object="enrolments", op="update", key=f"{user}:{course}", fields={"Completed": "Yes", "Grade": "9"}
        )
        gone = next(row["userid"] for row in records(moodle, "enrolments") if row["userid"] != user)
        members = [row["courseid"] for row in records(moodle, "enrolments") if row["userid"] == gone]
        mutate(moodle, object="users", op="delete", id=gone)
        rating = next(row for row in records(moodle, "competencies") if row["userid"] != gone)
        key = f"{rating['userid']}:{rating['competency_idnumber']}"
        mutate(moodle, object="competencies", op="update", key=key, fields={"rating": "3"})
        told = delivered(moodle)

        catcher.answers = [503]
        mutate(moodle, object="users", op="update", id=6, fields={"lastname": "Lost"})
        lost = delivered(moodle)
    assert told["acknowledged"] == told["changed"] == 7 + len(members)
    assert lost["given_up"] == 1

    found = [json.loads(caught.body) for caught in catcher.caught]
    assert {event["token"] for event in found} == {"hook-secret-token"}
    source = MoodleSource(adapter="moodle", url="http://127.0.0.1:9", token="env:T", timezone="UTC")
    keys = {(k.entity, k.source_id) for e in found for k in moodle_hints.plugin_event(source, e) if isinstance(k, Key)}
    assert keys >= {
        (LmsEntity.LEARNERS, "6"),
        (LmsEntity.COURSES, "2"),
        (LmsEntity.COMPLETIONS, f"{user}:{course}"),
        (LmsEntity.SCORES, f"{user}:{course}:course"),
        (LmsEntity.LEARNERS, f"{gone}"),
        *((LmsEntity.ENROLLMENTS, f"{gone}:{each}") for each in members),
    }
    assert len([key for entity, key in keys if entity is LmsEntity.COMPETENCIES]) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "ftp://x/"}, "url has to be an address"),
        ({"url": 7}, "url has to be an address"),
        ({"secret": "whsec_?"}, "secret has to be base64"),
        ({"drop": 1.5}, "drop has to be a share"),
        ({"shuffle": 1}, "shuffle has to be true or false"),
        ({"together": 0}, "together has to be a whole number"),
        ({"sources": ["CRM_UI"]}, "doesn't tell a change's source"),
        ({"color": "red"}, "unknown: color"),
    ],
)
def test_what_makes_no_sense_is_refused(school: str, wrong: dict[str, Any], said: str) -> None:
    answer = httpx.post(f"{school}/_sandbox/webhooks", json={"url": "http://127.0.0.1:9/", "secret": SECRET, **wrong})
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_a_system_without_webhooks_says_so() -> None:
    with serving(OneRosterSimulator(learners=60, courses=4, enrollments=120)) as address:
        answer = httpx.post(f"{address}/_sandbox/webhooks", json={"url": "http://127.0.0.1:9/", "secret": SECRET})
    assert (answer.status_code, answer.json()) == (400, {"error": "oneroster sends no webhooks"})


def test_what_waits_doesnt_keep_the_server(catcher: Catcher, unused_port: int) -> None:
    with serving(SchoolSimulator(learners=60, courses=4, enrollments=120)) as address:
        subscribe(address, url=f"http://127.0.0.1:{unused_port}/hook", secret=SECRET, shuffle=True)
        rename(address, *learners(address, 3))
    assert catcher.caught == []


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    event = {"type": "learner.updated", "timestamp": "2026-11-27T00:00:00Z", "data": {"entity": "learners", "id": "1"}}
    for bound, least in (("MOST_WAITING", 10), ("MOST_BYTES", 1000)):
        monkeypatch.setattr(outbox, bound, least)
        held = Outbox(Subscription("http://127.0.0.1:9/", SECRET), StandardVoice())
        for _ in range(100):
            held.add(event, now=0.0)
        told = held.as_json()
        assert 0 < told["waiting"] <= 10
        assert told["waiting"] + told["overflowed"] == 100
        while (delivery := held.take(0.0)) is not None:
            held.settle(delivery, 202, 0.0)
        assert held.as_json()["waiting"] == 0
        held.add(event, now=0.0)
        assert held.as_json()["waiting"] == 1


def test_a_delivery_is_given_up_in_the_end_and_waits_longer_each_time() -> None:
    held = Outbox(Subscription("http://127.0.0.1:9/", SECRET), StandardVoice())
    held.add({"type": "learner.updated", "timestamp": "", "data": {}}, now=0.0)
    now, moments = 0.0, []
    while (delivery := held.take(now)) is not None:
        moments.append(now)
        held.settle(delivery, None, now)
        now = held.next_due() or now
    assert len(moments) == StandardVoice.tries
    assert held.as_json()["given_up"] == 1
    assert 60 < moments[-1] < 300
    # As long as the receiver asks for.
    held.add({"type": "learner.updated", "timestamp": "", "data": {}}, now=now)
    delivery = held.take(now)
    assert delivery is not None
    held.settle(delivery, 503, now, wait_seconds=20)
    assert held.take(now + 19) is None
    assert held.take(now + 20) is delivery
