"""Whatever is sent: it never raises, it is bounded, and the order doesn't matter."""

import json
import re
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.checks import codes
from lms_crm_assets.hints import BATCH, Hints, found, touched
from tests.hints.tenant import CHANGES, HUBSPOT, RECORDINGS, SALESFORCE, SOURCES, contract, from_crm, from_lms
from tests.hints.test_crm import LONG, SHORT, outbound
from tests.hints.test_crm import event as hubspot_event
from tests.hints.test_others import changed

CONTRACTS = [("lms", contract(source)) for source in SOURCES.values()]
CONTRACTS += [("crm", contract(destination=crm)) for crm in (HUBSPOT, SALESFORCE)]
TYPES = ["application/json", "text/xml", "application/jwt", BATCH, "", ";;", "\x00"]
UNKNOWN = re.compile(r"LMS-50[1-4] [A-Za-z0-9_.:\\ -]{1,120}")
RECORDED = [json.loads(file.read_text())["body"] for file in sorted(RECORDINGS.glob("*/*.json"))]


def _texts(value: Any) -> Iterator[str]:
    """All names of members, and all texts."""
    if isinstance(value, str):
        yield value
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for each in inner:
        yield from _texts(each)


# Words that the senders use, so that a random body gets past their first looks.
WORDS = [
    *sorted(set(_texts(RECORDED))),
    "metadata", "event_name", "body", "user_id", "course_id", "enrollment_updated", "grade_change", "root_account_id",
    "resource", "action", "payload", "id", "enrollment", "type", "data", "items", "entity", "learners", "scores",
    "subscriptionType", "contact.merge", "object.associationChange", "objectTypeId", "mergedObjectIds", "0-1", "2-5",
    "object", "ids", "Contact", SHORT, LONG, "21070000000000123", "\\core\\event\\user_graded",
]  # fmt: skip

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(WORDS)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=6),
    max_leaves=30,
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A recorded body in which some values were exchanged."""
    body = draw(st.sampled_from(RECORDED))

    def changed(value: Any) -> Any:
        if draw(st.integers(0, 15)) == 0:
            return draw(values)
        if isinstance(value, dict):
            return {name: changed(inner) for name, inner in value.items()}
        return [changed(inner) for inner in value[:2]] if isinstance(value, list) else value

    return changed(body)


def is_sound(hints: Hints) -> None:
    assert all(UNKNOWN.fullmatch(text) for text in hints.unknown), hints.unknown
    assert all(0 < len(key) <= 600 for _, key in hints.lms)
    assert all(0 < len(key) <= 255 for _, key in hints.crm)
    assert max(len(hints.lms), len(hints.crm), len(hints.leads)) <= 10_000
    assert len(hints.unknown) <= 100


def test_the_codes_are_the_catalogue_s() -> None:
    named = [codes.EVENT_TYPE, codes.EVENT_UNREADABLE, codes.EVENT_UNKEYED, codes.EVENT_TOO_LARGE]

    assert [each.code for each in named] == [found.UNKNOWN, found.UNREADABLE, found.UNKEYED, found.TOO_MANY]


@settings(max_examples=150, deadline=None)
@given(body=values | mutated(), content_type=st.sampled_from(TYPES))
def test_no_json_raises(body: Any, content_type: str) -> None:
    for side, tenant in CONTRACTS:
        is_sound(touched(tenant, side, content_type, json.dumps(body).encode()))


@settings(max_examples=300, deadline=None)
@given(body=st.binary() | st.binary().map(lambda some: b"<" + some), content_type=st.sampled_from(TYPES))
def test_no_bytes_raise(body: bytes, content_type: str) -> None:
    for side, tenant in CONTRACTS:
        is_sound(touched(tenant, side, content_type, body))


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 1000), some=st.binary(max_size=4), length=st.integers(0, 4))
def test_no_altered_soap_raises(at: int, some: bytes, length: int) -> None:
    body = outbound(("Contact", SHORT), ("Contact", LONG))
    is_sound(touched(contract(destination=SALESFORCE), "crm", "text/xml", body[:at] + some + body[at + length :]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b"{" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"NaN",
        b"\xff",
        b'"\\ud800"',
        b"1e400",
    ],
)
def test_deep_and_broken_bodies_are_named(body: bytes) -> None:
    for side, tenant in CONTRACTS:
        assert len(touched(tenant, side, "application/json", body).unknown) == 1


@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(mutated() | values, max_size=5), order=st.randoms(use_true_random=False))
def test_the_hints_of_a_list_are_those_of_its_elements_together(bodies: list[Any], order: Any) -> None:
    parts = [each for body in bodies for each in (body if isinstance(body, list) else [body])]
    shuffled = order.sample(parts, len(parts))
    for side, tenant in CONTRACTS:
        # A list in a list is one element that can't be read, by itself it is a list.
        single = [part for part in parts if not isinstance(part, list)]
        one_by_one = [touched(tenant, side, "application/json", json.dumps(part).encode()) for part in single]
        together = touched(tenant, side, "application/json", json.dumps(single).encode())

        assert together == reduce(or_, one_by_one, Hints())
        assert together == touched(tenant, side, "application/json", json.dumps([p for p in shuffled if not isinstance(p, list)]).encode())  # fmt: skip


def test_of_too_many_keys_the_same_ones_are_kept_in_any_order() -> None:
    items = [{"entity": "learners", "id": f"{n:05}"} for n in range(12_000)]

    together = from_lms(CHANGES, changed("changes", items=items))
    parts = [from_lms(CHANGES, changed("changes", items=items[n : n + 5000])) for n in (10_000, 0, 5000)]

    assert together == from_lms(CHANGES, changed("changes", items=items[::-1])) == reduce(or_, parts)
    assert sorted(key for _, key in together.lms) == [f"{n:05}" for n in range(10_000)]
    assert together.unknown == ("LMS-504 more than 10000 keys",)
    assert from_lms(CHANGES, changed("changes", items=items[:10_000])).unknown == ()


def test_of_too_many_records_the_same_ones_are_kept() -> None:
    events = [hubspot_event("contact.creation", objectId=n + 1) for n in range(11_000)]

    touches = from_crm(HUBSPOT, events)

    assert len(touches.crm) == 10_000
    assert touches == from_crm(HUBSPOT, events[::-1])
    assert touches.unknown == ("LMS-504 more than 10000 keys",)


def test_of_too_many_unknown_types_some_are_named() -> None:
    words = [a + b for a in "abcdefghijkl" for b in "abcdefghijkl"]

    touches = from_lms(CHANGES, [changed(word) for word in words])

    assert len(touches.unknown) == 100
    assert touches == from_lms(CHANGES, [changed(word) for word in words[::-1]])
