"""`lms-crm record` against the sandbox: nothing of anybody in the files, and an LMS that replays to the same counts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner, Result

from lms_crm_assets.cli.app import app
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import FatalError
from lms_crm_assets.lms.adapters import lms_adapter
from tests.conftest import TENANTS, empty_store
from tests.recording.replay import replaying
from tests.sandbox_control import mutate, records, requests, writes

SOURCES: dict[str, dict[str, Any]] = {
    "moodle": {"adapter": "moodle", "url": "${ACME_LMS_URL}", "token": "env:ACME_LMS_TOKEN", "reports": True},
    "moodle_school": {
        "adapter": "moodle",
        "url": "${SANDBOX_MOODLE_SCHOOL_URL}",
        "token": "env:SANDBOX_MOODLE_SCHOOL_TOKEN",
        "timezone": "Europe/London",
    },
    "school": {"adapter": "changes", "url": "${GLOBEX_LMS_URL}", "token": "env:GLOBEX_LMS_TOKEN", "page_size": 200},
    "canvas": {"adapter": "canvas", "url": "${SANDBOX_CANVAS_URL}", "token": "env:SANDBOX_CANVAS_TOKEN"},
    "oneroster": {
        "adapter": "oneroster",
        "url": "${SANDBOX_ONEROSTER_URL}",
        "token_url": "${SANDBOX_ONEROSTER_URL}/token",
        "client_id": "env:SANDBOX_ONEROSTER_CLIENT_ID",
        "client_secret": "env:SANDBOX_ONEROSTER_CLIENT_SECRET",
    },
    "thinkific": {
        "adapter": "thinkific",
        "url": "${SANDBOX_THINKIFIC_URL}",
        "subdomain": "sandbox",
        "api_key": "env:SANDBOX_THINKIFIC_KEY",
    },
}
LEFT_OUT = {"oneroster": ["completion"], "thinkific": ["competency"]}
PERSON = {
    "given_name": "Canarina",
    "family_name": "Vanarie",
    "email": "canary.bird@nest.example",
    "username": "canarybird77",
    "phone": "+44 20 7946 0958",
}


@pytest.fixture
def tenants(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - environment
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path / "tenants"))
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "tenants").mkdir()
    return tmp_path / "tenants"


def contract(tenants: Path, name: str, *, crm: str = "globex") -> str:
    """A tenant with that LMS, and the CRM of one of the examples."""
    content = yaml.safe_load((TENANTS / f"{crm}.yaml").read_text(encoding="utf-8"))
    source = dict(SOURCES[name])
    if source.pop("reports", False):
        source["reports"] = {"participants": 1, "competencies": 3}
    objects = {obj: told for obj, told in content["objects"].items() if obj not in LEFT_OUT.get(name, [])}
    content |= {"tenant": "recorded", "source": source, "objects": objects, "mode": "pull"}
    del content["webhooks"]
    (tenants / "recorded.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return "recorded"


def run(tenant: str, out: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["record", "--tenant", tenant, "--out", str(out), *more])


def plant(sandbox: Sandbox, name: str) -> set[str]:
    """Somebody with telling names in the LMS; gives what must not be in any file."""
    address = getattr(sandbox, name)
    if name == "moodle":
        fields = {"firstname": "Canarina", "lastname": "Vanarie", "email": PERSON["email"]}
        person = next(each for each in records(address, "users") if each["id"] > 90)
        mutate(address, object="users", op="update", id=person["id"], fields=fields)
        return {*fields.values(), "sandbox-moodle-token"}
    if name == "moodle_school":
        fields = {"firstname": "Canarina", "lastname": "Vanarie", "email": PERSON["email"]}
        person = next(each for each in records(address, "users") if each["id"] > 90)
        mutate(address, object="users", op="update", id=person["id"], fields=fields)
        return {*fields.values(), "sandbox-moodle-token"}
    learner = records(address, "learners")[0]["id"]
    known = set(records(address, "learners")[0])
    fields = {key: value for key, value in PERSON.items() if key in known}
    mutate(address, object="learners", op="update", id=learner, fields=fields)
    return {*fields.values(), f"sandbox-{name}-token", "sandbox-thinkific-key", "sandbox-secret", "sandbox-client"}


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.iterdir()):
        yield file.name, file.read_text(encoding="utf-8")


def everybody(sandbox: Sandbox, name: str) -> set[str]:
    """E-mails, usernames and full names of all who are in the LMS."""
    kind = "users" if name.startswith("moodle") else "learners"
    names = ("email", "username", "full_name", "fullname")
    return {
        str(each[key]) for each in records(getattr(sandbox, name), kind) for key in names if len(str(each.get(key))) > 5
    } - {"None"}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each in {"moodle", "school"} else pytest.mark.long) for each in SOURCES]
)
def test_nobody_is_in_a_recording_and_it_replays_to_the_same_counts(
    sandbox: Sandbox, tenants: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = plant(sandbox, name) | everybody(sandbox, name) | {"pat-sandbox", "127.0.0.1"}
    out = tmp_path / "out"

    result = run(contract(tenants, name), out, "--pages", "1000")

    assert result.exit_code == 0, (result.output, result.exception)
    assert "look the files over" in result.output
    found = {(file, canary) for file, text in texts(out) for canary in canaries if canary in text}
    assert found == set()
    recorded = load_contract(tenants, "recorded")
    counted = _counts(recorded)
    assert all(f"{count:,} {entity}" in result.output for entity, count in counted.items())
    assert counted[LmsEntity.LEARNERS] > 20
    with replaying(out, "lms") as address:
        for key in ("ACME_LMS_URL", "GLOBEX_LMS_URL", *(f"SANDBOX_{each.upper()}_URL" for each in SOURCES)):
            monkeypatch.setenv(key, address)
        assert _counts(load_contract(tenants, "recorded")) == counted


def _counts(found: Contract) -> dict[LmsEntity, int]:
    """Records by entity, each pulled alone and one call at a time as they are recorded."""
    update: dict[str, Any] = {"concurrency": 1} if hasattr(found.source, "concurrency") else {}
    source = found.source.model_copy(update=update)
    lms = lms_adapter(found.model_copy(update={"source": source}), empty_store())
    try:
        return {
            entity: sum(len(page.records) for page in lms.pull([entity], None) if page.entity is entity)
            for entity in LmsEntity
            if entity in lms.capabilities.entities
        }
    finally:
        lms.close()


@pytest.mark.parametrize("crm", [pytest.param("acme", marks=pytest.mark.long), "globex"])
def test_definitions_of_the_crm_are_kept_and_nothing_is_written_there(
    sandbox: Sandbox, tenants: Path, tmp_path: Path, crm: str
) -> None:
    address, kind = (sandbox.salesforce, "Contact") if crm == "acme" else (sandbox.hubspot, "contacts")
    field = "Shoe_Size__c" if crm == "acme" else "shoe_size"
    options = {"values": ["small", "Canarina Vanarie"]} if crm == "acme" else {"options": ["small", "Canarina Vanarie"]}
    kind_of = "picklist" if crm == "acme" else "enumeration"
    change = {"op": "add", "field": field, "to": {"type": kind_of, "label": "Canary label", **options}}
    httpx.post(f"{address}/_sandbox/schema", json={"object": kind, **change}).raise_for_status()
    if crm == "globex":
        person = {"firstname": "Canarina", "email": "canary.bird@nest.example"}
        mutate(address, object="contacts", op="create", properties=person)
    before = writes(address).total()
    out = tmp_path / "out"

    result = run(contract(tenants, "school", crm=crm), out)

    assert result.exit_code == 0, (result.output, result.exception)
    told = dict(texts(out))
    assert not [name for name, text in told.items() for word in ("Canar", "canary", "127.0.0.1") if word in text]
    assert not [name for name, text in told.items() if "oauth" in name or "access_token" in text or "sandbox-s" in text]
    of_crm = [json.loads(text) for name, text in told.items() if "-crm-" in name]
    assert {each["request"]["method"] for each in of_crm} == {"GET"}
    assert writes(address).total() == before
    body = next(
        each["response"]["body"]
        for each in of_crm
        if each["request"]["path"].endswith(("Contact/describe", "properties/contacts"))
    )
    described = {each["name"]: each for each in body["fields" if crm == "acme" else "results"]}
    assert described[field]["type"] == kind_of
    listed = described[field]["picklistValues" if crm == "acme" else "options"]
    assert listed[0]["value"] == "small"
    assert [each["value"].startswith("text-") for each in listed] == [False, True]


@pytest.mark.parametrize("crm", [pytest.param("acme", marks=pytest.mark.long), "globex"])
def test_no_token_is_in_a_recording_that_had_to_get_one(
    sandbox: Sandbox, tenants: Path, tmp_path: Path, crm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ends are entered by refresh tokens, and sessions end after two calls."""
    address = sandbox.salesforce if crm == "acme" else sandbox.hubspot
    for each in (address, sandbox.canvas):
        httpx.post(f"{each}/_sandbox/reset", json={"token_calls": 2}).raise_for_status()
    secrets = {
        "CLIENT": "sandbox-client",
        "SECRET": "sandbox-secret",
        "CANVAS_REFRESH": "sandbox-canvas-refresh",
        "CRM_REFRESH": "sandbox-refresh" if crm == "acme" else "sandbox-refresh-token",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    client = {"flow": "refresh_token", "client_id": "env:CLIENT", "client_secret": "env:SECRET"}
    file = tenants / f"{contract(tenants, 'canvas', crm=crm)}.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["source"] = {
        "adapter": "canvas",
        "url": sandbox.canvas,
        "activities": False,
        "refresh_token": "env:CANVAS_REFRESH",
        **client,
    }
    content["destination"] |= {"refresh_token": "env:CRM_REFRESH", **client}
    content["destination"].pop("access_token", None)
    file.write_text(yaml.safe_dump(content), encoding="utf-8")

    result = run("recorded", tmp_path / "out")

    assert result.exit_code == 0, (result.output, result.exception)
    told = dict(texts(tmp_path / "out"))
    assert sum(route.endswith("token") for route in requests(address)) == 1, "the sandbox was asked for tokens"
    assert not [name for name, text in told.items() if "token" in name or "access_token" in text or "Bearer" in text]
    assert not [name for name, text in told.items() for secret in secrets.values() if secret in text]
    assert {json.loads(text)["response"]["status"] for text in told.values()} <= {200, 401, 404}


def test_so_many_pages_are_recorded_as_were_asked_for(sandbox: Sandbox, tenants: Path, tmp_path: Path) -> None:
    result = run(contract(tenants, "school"), tmp_path / "out", "--pages", "1")

    assert result.exit_code == 0, result.output
    assert "200 learners" in result.output
    asked = [json.loads(text)["request"]["path"] for name, text in texts(tmp_path / "out") if "-lms-" in name]
    assert asked.count("/api/v1/learners") == 2, requests(sandbox.school)


def test_equal_values_stay_equal_and_no_two_recordings_are_alike(tenants: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        assert run(contract(tenants, "school"), tmp_path / name, "--pages", "100").exit_code == 0
    ids = {name: _ids(tmp_path / name) for name in ("one", "other")}

    assert ids["one"]["learners"] >= ids["one"]["enrollments"]
    assert not ids["one"]["learners"] & ids["other"]["learners"]


def _ids(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"learners": set(), "enrollments": set()}
    for _, text in texts(folder):
        told = json.loads(text)
        entity = told["request"]["path"].rpartition("/")[2]
        if entity in found:
            key = "id" if entity == "learners" else "learner_id"
            found[entity].update(row[key] for row in told["response"]["body"]["items"])
    return found


def test_a_folder_that_is_not_empty_is_refused_before_anything_is_asked(
    sandbox: Sandbox, tenants: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine", encoding="utf-8")

    result = run(contract(tenants, "school"), out)

    assert isinstance(result.exception, FatalError)
    assert "not an empty folder" in str(result.exception)
    assert [file.name for file in out.iterdir()] == ["mine.txt"]
    assert requests(sandbox.school) == {}


def test_what_fails_leaves_nothing_behind(tenants: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOBEX_CRM_TOKEN", "pat-wrong")

    result = run(contract(tenants, "school"), tmp_path / "new" / "out")

    assert result.exit_code == 1
    assert list((tmp_path / "new").iterdir()) == []
