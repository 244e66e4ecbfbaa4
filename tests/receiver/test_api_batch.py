"""`:batchUpsert` and its idempotency keys, over real HTTP."""

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apsw
import orjson
import pytest

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import RetryableError
from lms_crm_assets.ops.answers import KEPT_SECONDS
from lms_crm_assets.ops.inbox import Added
from lms_crm_assets.receiver.api_batch import CONTENT_TYPE
from lms_crm_assets.receiver.idempotency import RUNNING_SECONDS, Answer, Claim, fingerprint
from lms_crm_assets.receiver.problems import Problem
from tests.receiver.connector_server import LEARNER, Api, running_api

ROWS: dict[LmsEntity, dict[str, Any]] = {
    LmsEntity.LEARNERS: LEARNER,
    LmsEntity.COURSES: {"title": "Algebra", "starts_at": "2026-01-01T00:00:00Z"},
    LmsEntity.ENROLLMENTS: {"learner_id": "1", "course_id": "2", "status": "active"},
    LmsEntity.COMPLETIONS: {
        "learner_id": "1", "course_id": "2", "state": "completed", "completed_at": "2026-01-01T00:00:00+01:00",
    },
    LmsEntity.SCORES: {"learner_id": "1", "course_id": "2", "item_type": "course", "raw": 7, "min": 0, "max": 10},
    LmsEntity.COMPETENCIES: {"learner_id": "1", "competency": {"code": "A1", "name": "Reading"}, "proficient": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("batch")) as running:
        yield running


def _problem(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("entity", list(LmsEntity))
def test_a_good_row_of_each_entity_is_accepted_and_kept_before_the_answer(api: Api, entity: LmsEntity) -> None:
    row = {"id": "77", **ROWS[entity], "department": "kept too"}
    answer = api.batch([row, {"id": 78, "deleted": True}], f"good {entity}".replace(" ", "-"), entity=entity)
    assert answer.status_code == 200, answer.text
    assert [item["status"] for item in answer.json()["items"]] == ["accepted", "accepted"]
    event = list(api.inbox.find("acme"))[-1]
    assert event.content_type == CONTENT_TYPE
    assert orjson.loads(event.body) == {"entity": entity, "items": [row, {"id": 78, "deleted": True}]}


@pytest.mark.parametrize(
    ("entity", "change", "code"),
    [
        (LmsEntity.LEARNERS, {"email": "no address"}, "LMS-104"),
        (LmsEntity.LEARNERS, {"family_name": " "}, "LMS-101"),
        (LmsEntity.LEARNERS, {"status": "unknown"}, "LMS-105"),
        (LmsEntity.LEARNERS, {"username": "a@example.org.1700000000"}, "LMS-106"),
        (LmsEntity.LEARNERS, {"family_name": "x" * 300}, "LMS-107"),
        (LmsEntity.LEARNERS, {"given_name": "=cmd|' /C calc'!A0"}, "LMS-108"),
        (LmsEntity.LEARNERS, {"family_name": "@SUM(1+1)"}, "LMS-108"),
        (LmsEntity.COURSES, {"title": "-2+3+cmd|'x'!A0"}, "LMS-108"),
        (LmsEntity.LEARNERS, {"given_name": "M\N{REPLACEMENT CHARACTER}ller"}, "LMS-102"),
        (LmsEntity.COMPLETIONS, {"completed_at": "2099-01-01T00:00:00Z"}, "LMS-109"),
        (LmsEntity.SCORES, {"graded_at": "2099-01-01T00:00:00Z"}, "LMS-109"),
        (LmsEntity.SCORES, {"raw": 2**53 + 1, "max": None}, "LMS-102"),
        (LmsEntity.LEARNERS, {"id": None}, "LMS-101"),
        (LmsEntity.LEARNERS, {"id": ["1"]}, "LMS-102"),
        (LmsEntity.LEARNERS, {"id": True}, "LMS-102"),
        (LmsEntity.LEARNERS, {"deleted": "yes"}, "LMS-102"),
        (LmsEntity.LEARNERS, {"number": 2**70}, "LMS-102"),
        (LmsEntity.COURSES, {"starts_at": "2026-01-01T00:00:00"}, "LMS-102"),
        (LmsEntity.SCORES, {"raw": 11}, "LMS-205"),
        (LmsEntity.SCORES, {"raw": "much"}, "LMS-102"),
        (LmsEntity.COMPLETIONS, {"state": "done"}, "LMS-105"),
        (LmsEntity.COMPETENCIES, {"competency": {"code": "A1"}}, "LMS-101"),
    ],
)
def test_a_bad_row_is_refused_with_the_code_that_a_run_gives_it(
    api: Api, entity: LmsEntity, change: dict[str, Any], code: str
) -> None:
    items = [{"id": "1", **ROWS[entity]}, {"id": "2", **ROWS[entity], **change}, {"id": "3", **ROWS[entity]}]
    content = json.dumps({"items": items}).encode()
    answer = api.batch(None, f"k{random.random()}", entity=entity, content=content)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [item["status"] for item in body["items"]] == ["accepted", "rejected", "accepted"]
    assert body["items"][1]["code"] == code
    assert (body["accepted"], body["rejected"]) == (2, 1)
    assert "example.org" not in answer.text, "no learner data"


@pytest.mark.parametrize(
    ("entity", "change"),
    [
        (LmsEntity.LEARNERS, {"given_name": "-", "family_name": "x" * 255, "organization": "@home (Bristol)"}),
        (LmsEntity.COURSES, {"title": "+49 and - 50", "ends_at": "2099-12-31T00:00:00Z"}),
        (LmsEntity.SCORES, {"raw": 10, "pct": 101}),
        (LmsEntity.LEARNERS, {"id": 2**53 + 1}),
    ],
)
def test_what_only_looks_bad_is_accepted(api: Api, entity: LmsEntity, change: dict[str, Any]) -> None:
    answer = api.batch([{"id": "1", **ROWS[entity], **change}], f"k{random.random()}", entity=entity)
    assert answer.json()["accepted"] == 1, answer.text


def test_rows_that_are_none_and_texts_that_are_none_are_refused_by_row(api: Api) -> None:
    content = b'{"items":[7, null, [], "x", {"id":"\\ud800"}, {"id":"5","email":"\\udc00"}, {"id":"1","deleted":true}]}'
    answer = api.batch(None, "strange", content=content)
    assert [item["code"] for item in answer.json()["items"]] == ["LMS-102"] * 6 + [None]


def test_a_batch_of_bad_rows_alone_brings_no_delivery(api: Api) -> None:
    before = len(list(api.inbox.find("acme")))
    assert api.batch([{"id": "1"}], "all-bad").json()["accepted"] == 0
    assert len(list(api.inbox.find("acme"))) == before


def test_repeats_are_answered_byte_for_byte_and_kept_once(api: Api) -> None:
    items = [{"id": "1", **LEARNER}, {"id": "2"}]
    before = len(list(api.inbox.find("acme")))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.batch(items, "many"), range(100)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({(answer.content, answer.headers["content-type"]) for answer in done}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in done) == 1
    assert len(list(api.inbox.find("acme"))) == before + 1
    # The same content, written otherwise.
    again = api.batch(None, "many", content=orjson.dumps({"items": items}, option=orjson.OPT_INDENT_2))
    assert again.content == done[0].content


def test_a_thousand_repeats_are_byte_equal(api: Api) -> None:
    first = api.batch([{"id": "1", **LEARNER}], "thousand")
    content = fingerprint(orjson.dumps([{"id": "1", **LEARNER}], option=orjson.OPT_SORT_KEYS))
    for _ in range(1000):
        answer = api.connector.keys.claim("acme learners:batchUpsert", "thousand", content)
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, first.content, "application/json")


def test_another_content_under_the_same_key_is_422(api: Api) -> None:
    first = api.batch([{"id": "1", **LEARNER}], "reused")
    _problem(api.batch([{"id": "2", **LEARNER}], "reused"), 422, "IDEMPOTENCY_KEY_REUSED")
    assert api.batch([{"id": "1", **LEARNER}], "reused").content == first.content


def test_a_key_is_of_one_tenant_and_one_route(api: Api) -> None:
    assert api.batch([{"id": "1", **LEARNER}], "shared").status_code == 200
    assert api.batch([{"id": "2", **LEARNER}], "shared", tenant="other").status_code == 200
    row = {"id": "3", **ROWS[LmsEntity.COURSES]}
    assert api.batch([row], "shared", entity=LmsEntity.COURSES).status_code == 200


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, 'a"b', "a\\b", '"'])
def test_a_malformed_key_is_400(api: Api, key: str) -> None:
    _problem(api.batch([{"id": "1"}], key), 400, "IDEMPOTENCY_KEY_MALFORMED")


def test_a_missing_key_is_400_and_a_quoted_one_is_the_bare_one(api: Api) -> None:
    _problem(api.batch([{"id": "1"}], None), 400, "IDEMPOTENCY_KEY_MISSING")
    assert api.batch([{"id": "1"}], "quoted").status_code == 200
    assert api.batch([{"id": "1"}], '"quoted"').headers["idempotent-replayed"] == "true"


def test_while_the_first_is_running_a_repeat_is_409_and_after_a_crash_it_runs(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"id": "1", **LEARNER}]
    content = fingerprint(orjson.dumps(items, option=orjson.OPT_SORT_KEYS))
    crashed = api.connector.keys.claim("acme learners:batchUpsert", "crashed", content)
    assert isinstance(crashed, Claim)
    refused = api.batch(items, "crashed")
    _problem(refused, 409, "IDEMPOTENCY_KEY_IN_USE")
    assert refused.headers["retry-after"] == "1"
    before = len(list(api.inbox.find("acme")))
    monkeypatch.setattr(api.connector.calls, "clock", lambda: time.time() + RUNNING_SECONDS + 1)
    answer = api.batch(items, "crashed")
    assert answer.status_code == 200
    # Whoever was taken for lost comes back, and answers what was answered.
    late = api.connector.keys.finish(crashed, Answer(200, {}, b"late"))
    assert late.body == answer.content
    assert len(list(api.inbox.find("acme"))) == before + 1


def test_a_crash_between_inbox_and_answer_makes_no_second_delivery(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"id": "1", **LEARNER}]

    def crash(*_: Any) -> Answer:
        raise RuntimeError

    before = len(list(api.inbox.find("acme")))
    with monkeypatch.context() as patch:
        patch.setattr(type(api.connector.keys), "finish", crash)
        assert api.batch(items, "between").status_code == 500
    assert len(list(api.inbox.find("acme"))) == before + 1
    monkeypatch.setattr(api.connector.calls, "clock", lambda: time.time() + RUNNING_SECONDS + 1)
    assert api.batch(items, "between").json()["accepted"] == 1
    assert len(list(api.inbox.find("acme"))) == before + 1


def test_a_full_inbox_is_503_and_the_key_is_free_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"id": "1", **LEARNER}]
    with monkeypatch.context() as patch:
        patch.setattr("lms_crm_assets.ops.inbox.Inbox.add", lambda _, deliveries: [Added.FULL for _ in deliveries])
        refused = api.batch(items, "full")
        _problem(refused, 503, "UNAVAILABLE")
        assert "retry-after" in refused.headers
    assert "idempotent-replayed" not in api.batch(items, "full").headers


@pytest.mark.parametrize("error", [apsw.FullError, apsw.ReadOnlyError, RetryableError])
def test_a_store_that_cannot_be_written_is_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error("disk")

    api.bearer()
    monkeypatch.setattr(api.connector.calls, "transaction", refuse)
    _problem(api.batch([{"id": "1", **LEARNER}], "store"), 503, "UNAVAILABLE")
    _problem(api.get("changes"), 503, "UNAVAILABLE")
    _problem(api.ask_token(), 503, "UNAVAILABLE")


def test_keys_are_kept_a_day_and_purged_after(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, now = api.connector.keys, time.time()
    for number in range(3):
        claim = keys.claim("purge", f"old{number}", "content")
        assert isinstance(claim, Claim)
        keys.finish(claim, Answer(200, {}, b"kept"))
    monkeypatch.setattr(api.connector.calls, "clock", lambda: now + 24 * 3600)
    assert isinstance(keys.claim("purge", "old0", "content"), Answer)
    with pytest.raises(Problem):
        keys.claim("purge", "old0", "other")
    monkeypatch.setattr(api.connector.calls, "clock", lambda: now + KEPT_SECONDS + 60)
    keys.claim("purge", "new", "content")
    assert [row[0] for row in api.connector.calls.read("SELECT key FROM idempotency_keys WHERE scope = 'purge'")] == [
        "new"
    ]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "INVALID_JSON"),
        (b"", 400, "INVALID_JSON"),
        (b'{"items":[NaN]}', 400, "INVALID_JSON"),
        (b'{"items":[],"items":[]}', 400, "INVALID_JSON"),
        (b"[" * 1000, 400, "INVALID_JSON"),
        (b'{"items":["\xff"]}', 400, "INVALID_JSON"),
        (b'{"items":["\\u0000"]}', 400, "INVALID_JSON"),
        (b"[]", 422, "INVALID_REQUEST"),
        (b'{"items":[]}', 422, "INVALID_REQUEST"),
        (b'{"items":{}}', 422, "INVALID_REQUEST"),
        (b'{"items":[{"id":"1"}],"more":1}', 422, "INVALID_REQUEST"),
        (orjson.dumps({"items": [{"id": str(n)} for n in range(501)]}), 422, "INVALID_REQUEST"),
        (b" " * (2**20 + 1), 413, "TOO_LARGE"),
    ],
)
def test_what_is_no_batch_is_a_problem(api: Api, content: bytes, status: int, code: str) -> None:
    _problem(api.batch(None, f"k{random.random()}", content=content), status, code)


def test_a_body_of_almost_a_megabyte_passes_and_another_type_does_not(api: Api) -> None:
    row = {"id": "1", **LEARNER, "essay": "x" * 1_000_000}
    assert api.batch([row], "large").json()["accepted"] == 1
    headers = {**api.bearer(), "Idempotency-Key": "type", "Content-Type": "text/plain"}
    answer = api.http.post("/api/v1/tenants/acme/learners:batchUpsert", content=b"{}", headers=headers)
    _problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    unknown = api.http.post("/api/v1/tenants/acme/teachers:batchUpsert", content=b"{}", headers=headers)
    _problem(unknown, 404, "NOT_FOUND")


def test_mutated_bodies_and_keys_never_get_5xx(api: Api) -> None:
    chance = random.Random(6)
    good = orjson.dumps(
        {"items": [{"id": "1", **LEARNER}, {"id": 2, "deleted": True}, {"id": "3", "x": [1, {"y": None}]}]}
    )
    statuses = set()
    for number in range(400):
        body = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(body))
            body[place : place + chance.randint(0, 3)] = chance.choice(
                [
                    b"",
                    b"\\ud800",
                    b"\x00",
                    b"\xff",
                    b"1e999",
                    b"{",
                    b"[",
                    b'"',
                    b"-0",
                    b"9" * 30,
                    b"null",
                    b"\\u0041",
                    b"true",
                ]
            )
        answer = api.batch(None, f"fuzz{number}", content=bytes(body), entity=chance.choice(list(LmsEntity)))
        statuses.add(answer.status_code)
    assert statuses <= {200, 400, 422}
    assert 200 in statuses
