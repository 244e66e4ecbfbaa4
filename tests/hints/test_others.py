"""Thinkific's webhooks, the changes contract's, and batches of our own connector API."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.hints import BATCH, Hints
from tests.hints.tenant import CHANGES, MOODLE, ONEROSTER, SOURCES, THINKIFIC, from_lms, keys

ENROLLED = keys(enrollments="3", completions="3")


def event(resource: str, action: str, **payload: Any) -> dict[str, Any]:
    return {"id": "20190131", "resource": resource, "action": action, "tenant_id": "59", "payload": payload}


def changed(name: str, **data: Any) -> dict[str, Any]:
    return {"type": name, "timestamp": "2026-11-23T23:11:50Z", "data": data}


PERSON = {"course": {"id": 68}, "user": {"id": 94, "email": "a@b.test"}}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (event("enrollment", "created", id=3, course_id=68, **PERSON), Hints(ENROLLED)),
        (event("enrollment", "trial", id="3", **PERSON), Hints(ENROLLED)),
        (event("enrollment", "progress", id=3, **PERSON), Hints(ENROLLED)),
        (event("enrollment", "completed", id=3, **PERSON), Hints(ENROLLED)),
        (event("lesson", "completed", id=8, enrollment_id=3, **PERSON), Hints(ENROLLED)),
        (event("lesson", "completed", id=8, **PERSON), Hints(unknown=("LMS-503 lesson.completed",))),
        (event("user", "signup", id=94), Hints(keys(learners="94"))),
        (event("user", "updated", id=94), Hints(keys(learners="94"))),
        (event("user", "signin", id=94), Hints()),
        (event("course", "deleted", id=68), Hints(keys(courses="68"))),
        (event("order", "created", id=1), Hints(unknown=("LMS-501 order.created",))),
        (event("user", "updated", email="a@b.test"), Hints(unknown=("LMS-503 user.updated",))),
        ({"id": "1"}, Hints(unknown=("LMS-502 thinkific",))),
    ],
)
def test_thinkific(told: Any, expected: Hints) -> None:
    assert from_lms(THINKIFIC, told) == expected


@pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))
def test_every_lms_may_be_told_of_in_the_changes_contract_s_words(source: dict[str, Any]) -> None:
    assert from_lms(source, changed("learner.updated", entity="learners", id="u-1")) == Hints(keys(learners="u-1"))
    items = [{"entity": entity, "id": f"{n}:x"} for n, entity in enumerate(LmsEntity)]

    found = from_lms(source, changed("changes", items=items))

    assert found == Hints(frozenset((entity, f"{n}:x") for n, entity in enumerate(LmsEntity)))
    assert from_lms(source, [changed("changes", items=[item]) for item in items]) == found


@pytest.mark.parametrize("source", [CHANGES, ONEROSTER])
@pytest.mark.parametrize(
    ("told", "unknown"),
    [
        (changed("invoice.paid", amount=5), "LMS-501 invoice.paid"),
        (changed("learner.updated", entity="people", id="1"), "LMS-501 people"),
        (changed("learner.updated", entity=5, id="1"), "LMS-501 unnamed"),
        (changed("learner.updated", entity="learners"), "LMS-502 learners without a usable id"),
        (changed("learner.updated", entity="learners", id="a\u0000"), "LMS-502 learners without a usable id"),
        (changed("learner.updated", entity="learners", id="a" * 256), "LMS-502 learners without a usable id"),
        (changed("learner.updated", entity="learners", id=1.5), "LMS-502 learners without a usable id"),
        (changed("changes", items={"entity": "learners", "id": "1"}), "LMS-502 changes"),
        ({"type": "changes", "data": []}, "LMS-502 changes"),
        ({"type": "ada@acme.test", "data": {}}, "LMS-501 unnamed"),
        ({"type": "learner.12345", "data": {}}, "LMS-501 unnamed"),
        ("changes", "LMS-502 changes"),
    ],
)
def test_what_breaks_the_changes_contract_is_named(source: dict[str, Any], told: Any, unknown: str) -> None:
    assert from_lms(source, told) == Hints(unknown=(unknown,))


def test_one_broken_item_leaves_the_others() -> None:
    found = from_lms(CHANGES, changed("changes", items=[{"entity": "courses", "id": 7}, None]))

    assert found == Hints(keys(courses="7"), unknown=("LMS-501 unnamed",))


@pytest.mark.parametrize("content_type", [BATCH, f"{BATCH.upper()}; charset=utf-8"])
def test_a_batch_touches_its_rows(content_type: str) -> None:
    body = {"entity": "enrollments", "items": [{"id": "205:2", "status": "active"}, {"id": "206:2"}]}

    assert from_lms(MOODLE, body, content_type) == Hints(keys(enrollments="205:2 206:2"))
    assert from_lms(CHANGES, {"entity": "learners"}, content_type).unknown == ("LMS-502 batch",)
    people = {"entity": "people", "items": [{"id": 1}]}
    assert from_lms(CHANGES, people, content_type).unknown == ("LMS-501 people",)


def test_the_document_s_examples_are_read_as_it_says() -> None:
    docs = Path(__file__).parent.parent.parent / "docs"
    one, many = map(json.loads, re.findall(r"```json\n(.*?)```", (docs / "changes-contract.md").read_text(), re.DOTALL))
    document = yaml.safe_load((docs / "changes-contract.openapi.yaml").read_text())

    assert from_lms(CHANGES, one) == Hints(keys(learners="lrn-0000001"))
    assert from_lms(CHANGES, many) == Hints(keys(enrollments="enr-0000001", scores="scr-0000002"))
    assert document["components"]["schemas"]["Touched"]["properties"]["entity"]["enum"] == list(LmsEntity)
