"""The change feed over real HTTP: order, cursors, ETags, gzip."""

import base64
import gzip
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.receiver.cursors import cursor
from tests.receiver.connector_server import LEARNER, Api, running_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("changes")) as running:
        yield running


def _learner(key: str, name: str = "Byron") -> dict[str, Any]:
    return {"id": key, **LEARNER, "email": f"{key}@example.org", "family_name": name}


def _all(api: Api, since: str | None = None, **query: Any) -> tuple[list[dict[str, Any]], str]:
    found: list[dict[str, Any]] = []
    while True:
        after: dict[str, Any] = {"since": since} if since else {}
        page = api.get("changes", **after, **query).raise_for_status().json()
        found += page["changes"]
        since = page["next"]
        if not page["more"]:
            return found, since


def test_before_the_first_run_the_feed_is_empty_and_its_cursor_is_the_beginning(api: Api) -> None:
    page = api.get("changes").json()
    assert (page["changes"], page["more"]) == ([], False)
    api.build(LmsEntity.LEARNERS, [_learner("1"), _learner("2", "")])
    changes, _ = _all(api, page["next"])
    assert [(each["entity"], each["id"], each["op"]) for each in changes] == [("learners", "1", "upsert")]


def test_a_change_holds_the_canonical_row_as_json_has_it(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [{**_learner("1"), "updated_at": "2026-03-01T12:00:00+02:00"}])
    api.build(
        LmsEntity.COURSES, [{"id": "7", "title": "Algebra", "visible": True, "starts_at": "2026-01-01T00:00:00Z"}]
    )
    api.build(
        LmsEntity.SCORES,
        [{"id": "s", "learner_id": "1", "course_id": "7", "item_type": "course", "raw": 7.5, "min": 0, "max": 10}],
    )
    data = {each["entity"]: each["data"] for each in _all(api)[0] if each["op"] == "upsert"}
    assert data["learners"]["source_updated_at"] == "2026-03-01T10:00:00.000000Z"
    assert data["learners"]["family_name"] == "Byron"
    assert (data["courses"]["visible"], data["courses"]["starts_at"]) == (True, "2026-01-01T00:00:00.000000Z")
    assert (data["scores"]["raw"], data["scores"]["passed"]) == (7.5, None)
    assert {each["entity"] for each in _all(api, entity="courses")[0]} == {"courses"}


def test_a_row_that_leaves_is_told_as_delete_with_its_reason(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [_learner("1"), _learner("2"), _learner("3")])
    _, since = _all(api)
    api.build(LmsEntity.LEARNERS, [_learner("1"), _learner("2", "")])
    changes, _ = _all(api, since)
    assert {each["id"]: (each["op"], each["reason"], each["data"]) for each in changes} == {
        "2": ("delete", "refused", None),
        "3": ("delete", "gone", None),
    }


BUILDS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["X", "Y", ""])), st.integers(0, 3)),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=5, deadline=None)
@given(BUILDS, st.integers(1, 4))
def test_a_consumer_that_pages_while_rows_change_ends_with_the_same_rows(
    api: Api, builds: list[tuple[dict[str, str], int]], limit: int
) -> None:
    held: dict[str, str] = {}
    since: str | None = None

    def page() -> bool:
        nonlocal since
        query: dict[str, Any] = {"since": since} if since else {}
        answer = api.get("changes", entity="learners", limit=limit, **query).raise_for_status().json()
        since = answer["next"]
        for each in answer["changes"]:
            if each["op"] == "upsert":
                held[each["id"]] = each["data"]["family_name"]
            else:
                held.pop(each["id"], None)
        return bool(answer["more"])

    for rows, pages in builds:
        api.build(LmsEntity.LEARNERS, [_learner(key, name) for key, name in rows.items()])
        for _ in range(pages):
            page()
    while page():
        pass
    assert held == {key: name for key, name in builds[-1][0].items() if name}


def test_who_has_the_answer_already_gets_304_until_something_changes(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [_learner("1")])
    _, since = _all(api)
    first = api.get("changes", since=since)
    tag = first.headers["etag"]
    for header in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = api.get("changes", since=since, headers={"If-None-Match": header})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    api.build(LmsEntity.LEARNERS, [_learner("1")])
    assert api.get("changes", since=since, headers={"If-None-Match": tag}).status_code == 304, "a copy, nothing new"
    api.build(LmsEntity.LEARNERS, [_learner("1", "Lovelace")])
    assert api.get("changes", since=since, headers={"If-None-Match": tag}).status_code == 200
    assert api.get("changes", since=since, headers={"If-None-Match": '"other"'}).status_code == 200


def _raw(api: Api, accept: str) -> tuple[httpx.Headers, bytes]:
    headers = {**api.bearer(), "Accept-Encoding": accept}
    with api.http.stream("GET", "/api/v1/tenants/acme/changes", headers=headers) as answer:
        return answer.headers, b"".join(answer.iter_raw())


def test_an_answer_is_gzipped_for_who_takes_it(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [_learner(str(number)) for number in range(50)])
    plain_headers, plain = _raw(api, "identity")
    assert "content-encoding" not in plain_headers
    for accept in ("gzip", "br;q=1, gzip;q=0.5", "*"):
        headers, packed = _raw(api, accept)
        assert headers["content-encoding"] == "gzip"
        assert len(packed) < len(plain) / 5
        assert gzip.decompress(packed) == plain
        assert headers["etag"] == plain_headers["etag"]
    for accept in ("gzip;q=0", "br", "*;q=0", "gzip;q=x"):
        assert "content-encoding" not in _raw(api, accept)[0]


def test_a_cursor_of_a_feed_that_was_begun_anew_is_410(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [_learner("1")])
    answer = api.get("changes", since=cursor("changes", "another feed", 5))
    assert (answer.status_code, answer.json()["code"]) == (410, "CURSOR_EXPIRED")


@pytest.mark.parametrize(
    "since",
    ["x", "!!", "ä", "W10", cursor("rejections", 1, "a"), cursor("changes", "x", "y"), cursor("changes", 1, 1), "WzFd"],
)
def test_what_is_no_cursor_is_400(api: Api, since: str) -> None:
    answer = api.get("changes", since=since)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CURSOR")


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"entity": "teachers"}, {"since": "x" * 3000}]
)
def test_wrong_parameters_are_422(api: Api, query: dict[str, Any]) -> None:
    answer = api.get("changes", **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")


def test_a_cursor_ahead_of_an_older_copy_waits(api: Api) -> None:
    api.build(LmsEntity.LEARNERS, [_learner("1")])
    _, since = _all(api)
    feed = orjson.loads(base64.urlsafe_b64decode(since + "==="))[1]
    ahead = cursor("changes", feed, 2**40)
    assert api.get("changes", since=ahead).json() == {"changes": [], "next": ahead, "more": False}
