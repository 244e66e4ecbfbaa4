"""Providers that differ: what they refuse, what they lack, what they send along, and what changes without its row."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stamina

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import PermissionMissingError, ProtocolError, RetryableError
from tests.oneroster_provider import GRADEBOOK, ROSTERING, Answer, Provider, Query, adapter, served, status_info

OLD, NEW, SINCE = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", datetime(2026, 5, 1, tzinfo=UTC)
USERS, RESULTS = f"{ROSTERING}/users", f"{GRADEBOOK}/results"


def row(key: str, changed: Any = OLD, **members: Any) -> dict[str, Any]:
    return {"sourcedId": key, "status": "active", "dateLastModified": changed, **members}


def ref(key: str) -> dict[str, Any]:
    return {"sourcedId": key, "href": f"https://sis.test/{key}", "type": "x"}


def users(count: int, changed: str = OLD) -> list[dict[str, Any]]:
    return [row(f"u{n:02}", changed, primaryOrg=ref("o1")) for n in range(count)]


def graded(item_changed: str, **result: Any) -> dict[str, list[Any]]:
    """Two line items, the first of them changed then, with a result each."""
    return {
        "lineItems": [
            row("i/1", item_changed, **{"class": ref("c1"), "resultValueMin": 0, "resultValueMax": 20}),
            row("i2", **{"class": ref("c1"), "resultValueMin": 0, "resultValueMax": 50}),
        ],
        "results": [row("r1", lineItem=ref("i/1"), score=7, **result), row("r2", lineItem=ref("i2"), score=9)],
    }


def pulled(
    provider: Provider, entity: LmsEntity, since: datetime | None = None, **changes: Any
) -> dict[str, RawRecord]:
    with served(provider) as address, adapter(address, **changes) as found:
        return {record.source_id: record for page in found.pull([entity], since) for record in page.records}


def refusing(*names: str, status: int = 400, at: str = USERS) -> Callable[[str, Query], Answer | None]:
    """Refuse calls with one of these in the query."""

    def answer(path: str, query: Query) -> Answer | None:
        refused = path == at and not query.keys().isdisjoint(names)
        return (status, status_info("invalid_data"), {}) if refused else None

    return answer


@pytest.mark.parametrize("status", [400, 422])
def test_a_provider_that_refuses_to_sort_is_read_in_its_own_order(status: int) -> None:
    provider = Provider({"users": users(25)}, refusing("sort", "orderBy", status=status))

    assert len(pulled(provider, LmsEntity.LEARNERS, page_size=10)) == 25
    assert [("sort" in query, "filter" in query) for query in provider.called(USERS)][:3] == [
        (True, False),
        (True, False),  # once more: it might have been a refusal that passes
        (False, False),
    ]
    assert sum("sort" in query for query in provider.called(USERS)) == 2


@pytest.mark.parametrize("status", [405, 409, 418])
def test_an_answer_that_says_nothing_of_the_query_drops_none_of_it(status: int) -> None:
    provider = Provider({"users": users(25)}, refusing("sort", status=status))

    with pytest.raises(ProtocolError, match=f"answers {status}"):
        pulled(provider, LmsEntity.LEARNERS)


def test_a_refusal_that_passes_drops_nothing_of_the_query() -> None:
    refusals: Iterator[Answer] = iter([(400, status_info("invalid_data"), {})])
    provider = Provider({"users": users(25)}, lambda path, _: next(refusals, None) if path == USERS else None)

    assert len(pulled(provider, LmsEntity.LEARNERS, page_size=10)) == 25
    assert all("sort" in query for query in provider.called(USERS))


def test_a_user_who_changes_hides_nobody_where_sort_is_refused_and_no_total_is_sent() -> None:
    everybody, pages = users(25), 0

    def answer(path: str, query: Query) -> Answer | None:
        nonlocal pages
        if path != USERS or "sort" in query:
            return (400, status_info("invalid_data"), {}) if path == USERS else None
        pages += 1
        if pages == 3:
            everybody.append(everybody.pop(19))  # in the order of the last change
        first, limit = int(query["offset"]), int(query["limit"])
        return 200, {"users": everybody[first : first + limit]}, {}

    assert len(pulled(Provider(answer=answer), LmsEntity.LEARNERS, page_size=10)) == 25


def test_a_provider_that_refuses_the_filter_is_read_whole() -> None:
    provider = Provider({"users": users(12)}, refusing("filter"))

    assert len(pulled(provider, LmsEntity.LEARNERS, SINCE, page_size=10)) == 12
    assert "sort" in provider.called(USERS)[-1]


def test_a_provider_that_refuses_both_is_read_whole_in_its_own_order() -> None:
    provider = Provider({"users": users(12)}, refusing("filter", "sort", "orderBy"))

    assert len(pulled(provider, LmsEntity.LEARNERS, SINCE, page_size=10)) == 12


def test_a_refusal_that_nothing_mends_comes_through() -> None:
    provider = Provider({"users": users(12)}, refusing("limit"))

    with pytest.raises(ProtocolError, match=f"{USERS} answers 400"):
        pulled(provider, LmsEntity.LEARNERS)


def test_the_filter_is_as_the_standard_writes_it() -> None:
    provider = Provider({"users": users(3, NEW)})

    pulled(provider, LmsEntity.LEARNERS, datetime(2026, 5, 1, 12, 0, 0, 999, tzinfo=UTC), overlap_seconds=60)

    assert provider.called(USERS)[0]["filter"] == "dateLastModified>='2026-05-01T11:59:00Z'"


def test_a_client_that_sees_nobody_gives_no_empty_success() -> None:
    with pytest.raises(PermissionMissingError, match="the client sees nobody"):
        pulled(Provider(), LmsEntity.LEARNERS)
    assert pulled(Provider({"users": users(3)}), LmsEntity.LEARNERS, SINCE) == {}


def test_no_password_is_kept() -> None:
    profile = {"profileId": "p", "credentials": [{"type": "x", "username": "ada", "password": "hunter2"}]}
    provider = Provider({"users": [row("u1", password="hunter2", userProfiles=[profile, "odd"], givenName="Ada")]})

    (record,) = pulled(provider, LmsEntity.LEARNERS).values()

    assert record.payload["userProfiles"] == [{"profileId": "p"}, "odd"]
    assert record.payload["givenName"] == "Ada"
    assert "hunter2" not in str(record)


@pytest.mark.parametrize("item_routes", [True, False])
def test_a_line_item_that_changed_changes_its_results(*, item_routes: bool) -> None:
    provider = Provider(graded(NEW), item_routes=item_routes)

    found = pulled(provider, LmsEntity.SCORES, SINCE)

    assert found["r1"].payload["lineItem"]["resultValueMax"] == 20
    # Without a route for one line item's results they are found among all.
    assert set(found) == ({"r1"} if item_routes else {"r1", "r2"})


def test_where_many_line_items_changed_all_results_are_read() -> None:
    items = [row(f"i{n}", NEW, **{"class": ref("c1")}) for n in range(150)]
    provider = Provider({"lineItems": items, "results": [row(f"r{n}", lineItem=ref(f"i{n}")) for n in range(150)]})

    assert len(pulled(provider, LmsEntity.SCORES, SINCE)) == 150
    assert len(provider.calls) < 10


def test_the_line_items_of_changed_results_are_looked_up() -> None:
    few, many = graded(OLD), 60
    few["results"][0]["dateLastModified"] = NEW
    provider = Provider(few)

    assert pulled(provider, LmsEntity.SCORES, SINCE)["r1"].payload["lineItem"]["resultValueMax"] == 20
    assert provider.called(f"{GRADEBOOK}/lineItems/i%2F1")

    items = [row(f"i{n}", resultValueMax=n) for n in range(many)]
    provider = Provider(
        {"lineItems": items, "results": [row(f"r{n}", NEW, lineItem=ref(f"i{n}")) for n in range(many)]}
    )

    found = pulled(provider, LmsEntity.SCORES, SINCE)
    assert [found[f"r{n}"].payload["lineItem"]["resultValueMax"] for n in range(many)] == list(range(many))
    assert len(provider.calls) < 10


def test_a_result_whose_line_item_nobody_has_is_kept() -> None:
    provider = Provider({"results": [row("r1", lineItem=ref("gone"), score=3), row("r2", lineItem="odd")]})

    assert set(pulled(provider, LmsEntity.SCORES)) == {"r1", "r2"}


def test_an_organization_that_changed_changes_its_people() -> None:
    provider = Provider({"users": users(3), "orgs": [row("o1", NEW, name="North School")]})

    found = pulled(provider, LmsEntity.LEARNERS, SINCE)

    assert [record.payload["primaryOrg"]["name"] for record in found.values()] == ["North School"] * 3


def test_a_course_that_changed_changes_its_classes() -> None:
    classes = [row("k1", course=ref("c1")), row("k2", course=ref("c2"))]
    provider = Provider({"classes": classes, "courses": [row("c1", NEW, title="Sums"), row("c2", title="Poems")]})

    found = pulled(provider, LmsEntity.COURSES, SINCE)

    assert {key: record.payload["course"]["title"] for key, record in found.items()} == {"k1": "Sums", "k2": "Poems"}


def test_ratings_that_were_taken_back_are_deleted_in_an_incremental_pull() -> None:
    rated = [{"source": "case", "learningObjectiveResults": [{"learningObjectiveId": "lo1", "textScore": "4"}]}]
    results = [
        row("r1", NEW, learningObjectiveSet=rated),
        row("r2", NEW, score=3),
        row("r3", NEW, learningObjectiveSet=[]),
    ]

    whole = pulled(Provider({"results": results}), LmsEntity.COMPETENCIES)
    changed = pulled(Provider({"results": results}), LmsEntity.COMPETENCIES, SINCE)

    assert {key: record.is_deleted for key, record in whole.items()} == {"r1": False}
    assert {key: record.is_deleted for key, record in changed.items()} == {"r1": False, "r2": True, "r3": True}


def test_a_provider_without_a_gradebook_says_so() -> None:
    def answer(path: str, _: Query) -> Answer | None:
        return (404, status_info("unknownobject"), {}) if path.startswith(GRADEBOOK) else None

    with served(Provider({"users": users(1)}, answer)) as address, adapter(address) as found:
        assert found.probe() == [
            "the provider has no lineItems: scores have no range",
            "the provider has no results: scores and competencies can't be read; set source.gradebook to false",
        ]


def test_the_collections_that_only_add_something_may_be_missing() -> None:
    def answer(path: str, _: Query) -> Answer | None:
        return (404, status_info("unknownobject"), {}) if path.endswith(("/orgs", "/courses", "/lineItems")) else None

    rows = {"users": users(2), "classes": [row("k1", course=ref("c1"))], "results": [row("r1", lineItem=ref("i1"))]}
    for entity, key in ((LmsEntity.LEARNERS, "u00"), (LmsEntity.COURSES, "k1"), (LmsEntity.SCORES, "r1")):
        assert key in pulled(Provider(rows, answer), entity)
    with served(Provider(rows, answer)) as address, adapter(address) as found:
        assert found.probe() == [
            "the provider has no orgs: learners have no organization",
            "the provider has no courses: courses have the titles and codes of their classes alone",
            "the provider has no lineItems: scores have no range",
        ]


@pytest.mark.parametrize(
    ("entity", "collection", "rows"),
    [
        (LmsEntity.LEARNERS, "orgs", {"users": users(2)}),
        (LmsEntity.COURSES, "courses", {"classes": [row("k1", course=ref("c1"))]}),
        (LmsEntity.SCORES, "lineItems", {"results": [row("r1", lineItem=ref("i1"))]}),
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_collection_that_is_missing_in_passing_is_not_taken_for_none(
    entity: LmsEntity, collection: str, rows: dict[str, Any], times: int
) -> None:
    trouble: Iterator[Answer] = iter([(404, status_info("unknownobject"), {})] * times)

    def answer(path: str, _: Query) -> Answer | None:
        return next(trouble, None) if path.endswith(f"/{collection}") else None

    with pytest.raises(RetryableError, match=f"{collection} answers 404, and then there is such a collection"):
        pulled(Provider(rows, answer), entity)


@pytest.mark.parametrize("missing", ["by key", "all"])
def test_where_no_row_is_given_by_its_key_none_is_said_to_be_gone(missing: str) -> None:
    def answer(path: str, _: Query) -> Answer | None:
        gone = path.startswith(f"{USERS}/") or (missing == "all" and path == USERS)
        return (404, status_info("unknownobject"), {}) if gone else None

    with served(Provider({"users": users(2)}, answer)) as address, adapter(address) as found:
        assert [page.records for page in found.fetch(LmsEntity.LEARNERS, ["u00", "u07"])] == [[]]
    with served(Provider({"users": users(2)})) as address, adapter(address) as found:
        (page,) = found.fetch(LmsEntity.LEARNERS, ["u07"])
    assert [record.is_deleted for record in page.records] == [True]


def test_a_forbidden_collection_is_never_taken_for_an_empty_one() -> None:
    def answer(path: str, _: Query) -> Answer | None:
        return (403, status_info("forbidden"), {}) if path.endswith(("/orgs", "/results")) else None

    provider = Provider({"users": users(2)}, answer)
    for entity in (LmsEntity.LEARNERS, LmsEntity.SCORES):
        with pytest.raises(PermissionMissingError, match="forbids the call"):
            pulled(provider, entity)
    with served(provider) as address, adapter(address) as found:
        assert found.probe() == [
            "the client may not read orgs: learners can't be read; grant it",
            "the client may not read results: scores and competencies can't be read; grant it or set source.gradebook to false",
        ]


def test_a_client_that_may_read_nothing_is_an_error() -> None:
    provider = Provider(answer=lambda _path, _query: (403, status_info("forbidden"), {}))

    with (
        served(provider) as address,
        adapter(address) as found,
        pytest.raises(PermissionMissingError, match="the client may read nothing; grant it the scopes"),
    ):
        found.probe()


@pytest.mark.parametrize("stamp", ["yesterday", 20260301, "2026-03-01T00:00:00", None])
def test_an_unreadable_stamp_is_not_the_cursors_business(stamp: Any) -> None:
    provider = Provider({"users": [row("u1"), row("u2", stamp)]})

    with served(provider) as address, adapter(address) as found:
        first = next(found.pull([LmsEntity.LEARNERS], None))

    assert first.latest == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("entity", [LmsEntity.LEARNERS, LmsEntity.COURSES, LmsEntity.ENROLLMENTS, LmsEntity.SCORES])
@pytest.mark.parametrize("odd", [None, {}, {"sourcedId": None}, {"sourcedId": ["x"]}, [], "text", 7])
def test_a_malformed_row_is_kept_for_the_checks_and_stops_nothing(entity: LmsEntity, odd: Any) -> None:
    names = {"learners": "users", "courses": "classes", "enrollments": "enrollments", "scores": "results"}
    provider = Provider({names[entity]: [row("a"), odd, odd, row("b")]})

    assert list(pulled(provider, entity)) == ["a", "(row 1 has no sourcedId)", "(row 2 has no sourcedId)", "b"]


@pytest.mark.parametrize("body", [{"user": []}, {"users": {}}, [], "text", None])
def test_a_wrong_envelope_is_named(body: Any) -> None:
    provider = Provider(answer=lambda path, _: (200, body, {}) if path == USERS else None)

    with pytest.raises(ProtocolError, match=f"{USERS} answers without the list 'users' that OneRoster 1.2 asks for"):
        pulled(provider, LmsEntity.LEARNERS)


@pytest.mark.parametrize("body", [{"user": row("other")}, {"user": None}, {"users": []}, [], None])
def test_another_row_than_was_asked_for_is_refused(body: Any) -> None:
    provider = Provider(answer=lambda path, _: (200, body, {}) if path == f"{USERS}/u1" else None)

    with (
        served(provider) as address,
        adapter(address) as found,
        pytest.raises(ProtocolError, match="asked for one of the users by its sourcedId and gives something else"),
    ):
        list(found.fetch(LmsEntity.LEARNERS, ["u1"]))


@pytest.mark.parametrize("body", [b"<html>gateway</html>", b'{"users": ['])
def test_what_is_no_json_may_pass(body: bytes) -> None:
    provider = Provider(answer=lambda path, _: (200, body, {}) if path == USERS else None)

    with stamina.set_testing(True, attempts=2), pytest.raises(RetryableError, match="something that is no JSON"):
        pulled(provider, LmsEntity.LEARNERS)


@pytest.mark.parametrize("total", ["", "many", "-1", "12"])
def test_a_total_that_is_no_number_is_as_none(total: str) -> None:
    def answer(path: str, query: Query) -> Answer | None:
        first, limit = int(query.get("offset", 0)), int(query.get("limit", 0))
        return (200, {"users": users(12)[first : first + limit]}, {"X-Total-Count": total}) if path == USERS else None

    assert len(pulled(Provider(answer=answer), LmsEntity.LEARNERS, page_size=5)) == 12
