"""The adapters that docs/adding-an-adapter.md begins with work as they stand; mypy holds them against the protocols."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
import stamina
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lms_crm_assets.contract.models import LmsThrottle
from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, ParentSpec
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, FieldType, LmsEntity, OutcomeStatus, RawRecord
from lms_crm_assets.errors import (
    BatchRefusedError,
    CredentialError,
    OutcomeUnknownError,
    RateLimitedError,
    RetryableError,
    WrongAddressError,
)
from lms_crm_assets.sandbox.school.api import SchoolSimulator
from tests.conftest import empty_store
from tests.lms.pulls import by_key, fetched
from tests.sandbox_control import fault
from tests.simulator_server import running, serving

TEMPLATES = Path(__file__).parent.parent.parent / "docs" / "templates"
LEARNERS = LmsEntity.LEARNERS
SINCE = datetime(2026, 11, 1, tzinfo=UTC)

CONTACT = ObjectSpec(
    CrmObject.CONTACT, "contacts", "lms_id", {"name": FieldSpec("name", frozenset({"name"}), FieldType.TEXT)}, {}
)
SEAT = ObjectSpec(
    CrmObject.ENROLLMENT, "seats", "lms_id", {}, {CrmObject.CONTACT: ParentSpec("contacts", "lms_id", "contact")}
)


def template(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TEMPLATES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where pydantic looks the annotations up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _no_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture(scope="module")
def school() -> Iterator[tuple[SchoolSimulator, str]]:
    simulator = SchoolSimulator("good", learners=25, courses=2, enrollments=40)
    with serving(simulator) as address:
        yield simulator, address


@pytest.fixture
def lms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    module, made = template("lms_adapter"), []

    def of(address: str, token: str = "good") -> Any:
        monkeypatch.setenv("LMS_TOKEN", token)
        source = module.TemplateSource(adapter="template", url=address, token="env:LMS_TOKEN", page_size=10)
        made.append(module.TemplateAdapter(source, LmsThrottle(calls_per_second=1000), empty_store()))
        return made[-1]

    yield of
    for adapter in made:
        adapter.close()


def test_the_lms_template_reads_the_school(school: tuple[SchoolSimulator, str], lms: Callable[..., Any]) -> None:
    simulator, address = school
    adapter = lms(address)
    assert adapter.probe() == []
    fault(address, {"route": "^GET /api", "kind": "status", "status": 503, "times": 1})

    found = by_key(adapter.pull(tuple(LmsEntity), None))

    for entity in adapter.capabilities.entities:
        assert found[entity].keys() == {str(row["id"]) for row in simulator.records(str(entity))}
    known = min(found[LEARNERS])
    assert fetched(adapter, LEARNERS, known, "999999") == {
        known: found[LEARNERS][known],
        "999999": RawRecord("999999", None, is_deleted=True),
    }
    assert adapter.capabilities.needs_full_sweep == found.keys()
    fault(address)


def test_the_lms_template_names_what_is_wrong(
    school: tuple[SchoolSimulator, str], lms: Callable[..., Any], unused_port: int
) -> None:
    with pytest.raises(CredentialError, match=r"check source\.token"):
        lms(school[1], "wrong").probe()
    with pytest.raises(WrongAddressError, match=r"check source\.url"):
        lms(f"http://127.0.0.1:{unused_port}").probe()


class Crm:
    """A CRM as the template's first lines say; `answers` come first, in place of its own."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.answers: list[Response] = []

    async def answer(self, request: Request) -> Response:
        told = orjson.loads(await request.body() or b"{}")
        if self.answers:
            return self.answers.pop(0)
        to, _, operation = request.path_params["path"].partition("/")
        if operation == "schema":
            contact = {"name": "contact", "type": "reference", "references": ["contacts"]}
            fields = [{"name": "lms_id", "type": "text", "unique": True}, contact]
            return Response(orjson.dumps({"fields": fields}), 200 if to == "seats" else 404)
        if not operation:
            ids = [crm_id for crm_id in self.records if crm_id.startswith(to)]
            first = ids.index(request.query_params["after"]) if "after" in request.query_params else 0
            page, rest = ids[first : first + 1], ids[first + 1 :]
            rows = [{"id": crm_id, "fields": self.records[crm_id]} for crm_id in page]
            return Response(orjson.dumps({"results": rows, "after": rest[0] if rest else None}))
        return Response(orjson.dumps({"results": [getattr(self, operation)(to, each) for each in told["inputs"]]}))

    def upsert(self, to: str, told: dict[str, Any]) -> dict[str, Any]:
        if told["fields"].get("name") == "bad":
            return {"error": {"code": "INVALID", "message": "no"}}
        crm_id = f"{to}-{told['fields'][told['key']]}"
        fields = dict(told["fields"])
        if "contact" in fields:
            fields["contact"] = f"contacts-{fields['contact']}"
        self.records.setdefault(crm_id, {}).update(fields)
        return {"id": crm_id}

    def archive(self, _to: str, told: dict[str, Any]) -> dict[str, Any]:
        self.records.pop(told["id"], None)
        return {"id": told["id"]}

    def read(self, to: str, told: dict[str, Any]) -> dict[str, Any] | None:
        crm_id = f"{to}-{told['value']}"
        return {"id": crm_id, "fields": self.records[crm_id]} if crm_id in self.records else None


@pytest.fixture
def crm() -> Iterator[tuple[Crm, Any]]:
    served = Crm()
    app = Starlette(routes=[Route("/objects/{path:path}", served.answer, methods=["GET", "POST"])])
    with running(uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none"))) as address:
        module = template("crm_adapter")
        destination = module.TemplateDestination(adapter="template", url=address, token="env:CRM_TOKEN")
        adapter = module.TemplateAdapter(destination, "good", empty_store())
        yield served, adapter
        adapter.close()


def write(key: str, name: str = "Ada", crm_id: str | None = None, **parents: str) -> CrmWrite:
    return CrmWrite(key, crm_id, Action.CREATE, {"name": name}, parents)


def test_the_crm_template_writes_reads_and_archives(crm: tuple[Crm, Any]) -> None:
    served, adapter = crm
    adapter.probe()

    done = adapter.upsert(CONTACT, [write("1"), write("2", "bad"), write("3")])
    adapter.upsert(SEAT, [CrmWrite("9", None, Action.CREATE, {}, {"contact": "1"})])

    assert [(each.external_id, each.status) for each in done] == [
        ("1", OutcomeStatus.SUCCEEDED),
        ("2", OutcomeStatus.REJECTED),
        ("3", OutcomeStatus.SUCCEEDED),
    ]
    assert (done[1].code, done[0].crm_id) == ("INVALID", "contacts-1")
    assert [record.values for record in adapter.read(CONTACT, ["1", "2"])] == [{"name": "Ada"}]
    assert [[record.external_id for record in page] for page in adapter.snapshot(CONTACT)] == [["1"], ["3"]]
    (seat,) = next(adapter.changed_since(SEAT, SINCE))
    assert seat.parents == {CrmObject.CONTACT: ["contacts-1"]}
    assert adapter.discover("seats", ["contacts"]).relations == {"contacts": frozenset({"contact"})}
    assert adapter.discover("nothing") is None
    adapter.archive(CONTACT, [write("1", crm_id="contacts-1")])
    assert set(served.records) == {"contacts-3", "seats-9"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response("", 429), RateLimitedError),
        (Response("", 503), RetryableError),
        (Response("", 401), CredentialError),
        (Response("", 400), BatchRefusedError),
        (Response("<html>"), OutcomeUnknownError),
        (Response('{"results": []}'), OutcomeUnknownError),
    ],
)
def test_the_crm_template_says_what_an_answer_means(
    crm: tuple[Crm, Any], answer: Response, error: type[Exception]
) -> None:
    served, adapter = crm
    served.answers = [answer]

    with pytest.raises(error):
        adapter.upsert(CONTACT, [write("1")])
