"""One malformed row is refused with a code and stops nothing else; a wrong shape of the answer is one clear line."""

from typing import Any

import orjson
import pytest
import stamina

from lms_crm_assets.contract.models import ChangesSource, LmsThrottle
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import ProtocolError, RetryableError
from lms_crm_assets.lms.changes import ChangesAdapter
from tests.conftest import empty_store
from tests.sandbox_control import fault

GOOD = {"id": "a", "email": "a@b.test", "updated_at": "2026-03-01T00:00:00Z"}


def learners(sandbox: Sandbox, body: bytes | str) -> tuple[list[RawRecord], list[Any]]:
    """The records and cursor stamps of a listing whose only page has this body."""
    text = body.decode() if isinstance(body, bytes) else body
    fault(sandbox.school, {"route": "/api/v1/learners", "kind": "replace", "status": 200, "body": text})
    source = ChangesSource.model_validate(
        {"adapter": "changes", "url": sandbox.school, "token": "env:GLOBEX_LMS_TOKEN", "concurrency": 1}
    )
    adapter = ChangesAdapter(source, LmsThrottle(), empty_store())
    try:
        with stamina.set_testing(True, attempts=2):
            pages = list(adapter.pull([LmsEntity.LEARNERS], None))
    finally:
        adapter.close()
    with_rows = [page for page in pages if page.records]
    return [r for page in with_rows for r in page.records], [page.latest for page in with_rows]


def listing(*items: Any) -> bytes:
    return orjson.dumps({"items": items, "next": None, "total": len(items)})


@pytest.mark.parametrize("stamp", ["yesterday", 20260301, "2026-03-01T00:00:00", None, ""])
def test_an_unreadable_stamp_is_not_the_cursors_business(sandbox: Sandbox, stamp: Any) -> None:
    records, latest = learners(sandbox, listing(GOOD, {**GOOD, "id": "b", "updated_at": stamp}))

    assert [r.source_id for r in records] == ["a", "b"]
    assert [moment.isoformat() for moment in latest] == ["2026-03-01T00:00:00+00:00"]


@pytest.mark.parametrize("item", [None, {}, {"id": None}, [], "text"])
def test_a_row_without_an_id_is_kept_for_the_checks(sandbox: Sandbox, item: Any) -> None:
    records, _ = learners(sandbox, listing(GOOD, item, item))

    assert [r.source_id for r in records] == ["a", "(row 1 has no id)", "(row 2 has no id)"]


@pytest.mark.parametrize("value", ['"half \\ud800 a surrogate"', "1e400", "NaN"])
def test_what_a_strict_parser_refuses_reaches_the_checks(sandbox: Sandbox, value: str) -> None:
    body = f'{{"items": [{{"id": "a", "given_name": {value}}}], "next": null, "total": 1}}'

    records, _ = learners(sandbox, body)
    record = records[0]

    assert record.source_id == "a"
    assert orjson.dumps(record.payload)
    # Of a broken character the checks have to know.
    assert ("half" in value) == ("\N{REPLACEMENT CHARACTER}" in record.payload["given_name"])


@pytest.mark.parametrize("body", ['{"rows": []}', '{"items": {}, "total": 0}', "[]", '{"items": []}'])
def test_a_wrong_envelope_is_named(sandbox: Sandbox, body: str) -> None:
    with pytest.raises(ProtocolError, match=r"the LMS answers without '(items|total)' as the changes contract asks"):
        learners(sandbox, body)


def test_a_listing_that_stays_short_is_never_a_whole_one(sandbox: Sandbox) -> None:
    body = orjson.dumps({"items": [GOOD], "next": None, "total": 2})

    with pytest.raises(RetryableError, match=r"gives 1 learners where it says it has 2: nothing was changed"):
        learners(sandbox, body)
