"""The table "bad input and what it gets" (facts: reliability), its rows that are taken and refused later.

The LMS gets a bad row and good ones, and tells of them in one webhook; one run asks for the rows of all webhooks. Who is
refused is read from `GET …/rejections`, what arrived from the CRM's own records.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml

from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import run_job
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops import tokens
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.settings import Settings
from tests.conftest import TENANTS
from tests.receiver_server import ENVIRON, serving, signed
from tests.sandbox_control import fault, mutate, records

pytestmark = pytest.mark.slow

Row = tuple[str, str, dict[str, Any]]
"""Entity, id and fields of a row that the LMS gets."""
Refusal = tuple[str, str, str, str]
"""Entity, id, code and column of a refusal."""

COURSE = "crs-0000001"
SIZE = {"learners": 30, "courses": 2, "enrollments": 40}
DAY = "2026-05-01T00:00:00Z"


@dataclass(frozen=True)
class Case:
    """A row of the table: what the LMS gets that is bad, with all it takes, and who is refused why."""

    rows: list[Row]
    refused: list[Refusal]


def learner(key: str, **fields: Any) -> Row:
    names = {"username": key, "email": f"{key}@bad.test", "given_name": "Ada", "family_name": f"Of {key}"}
    return "learners", key, {**names, "organization": "Globex", "status": "active", **fields}


def enrollment(key: str, **fields: Any) -> Row:
    return "enrollments", key, {"learner_id": key, "course_id": COURSE, "enrolled_at": DAY, **fields}


def completion(key: str, **fields: Any) -> Row:
    state = {"state": "completed", "progress_pct": 100, "completed_at": "2026-06-01T00:00:00Z"}
    return "completions", key, {"learner_id": key, "course_id": COURSE, **state, **fields}


def score(key: str, **fields: Any) -> Row:
    return "scores", key, {"learner_id": key, "course_id": COURSE, "item_type": "course", **fields}


def of_good(key: str, *bad: Row) -> list[Row]:
    """The bad rows, of a learner who is good."""
    return [learner(key), *bad]


CASES: dict[str, Case] = {
    "missing learner": Case(
        [enrollment("bad-01", learner_id="lrn-none")],
        [("enrollments", "bad-01", "LMS-203", "learner_id")],
    ),
    "score 101 %": Case(
        of_good("bad-02", enrollment("bad-02"), completion("bad-02"), score("bad-02", raw=101, min=0, max=100)),
        [("scores", "bad-02", "LMS-205", "raw")],
    ),
    "completion before enrolment": Case(
        of_good("bad-03", enrollment("bad-03"), completion("bad-03", completed_at="2026-04-30T23:59:59Z")),
        [("completions", "bad-03", "LMS-206", "completed_at")],
    ),
    "date in 2099": Case(
        of_good("bad-04", enrollment("bad-04"), completion("bad-04", completed_at="2099-01-01T00:00:00Z")),
        [("completions", "bad-04", "LMS-109", "completed_at")],
    ),
    "lone surrogate": Case(
        # In the LMS's answer, see `with_half`.
        [],
        [("learners", "bad-05", "LMS-102", "given_name")],
    ),
    "300-character name": Case(
        [learner("bad-06", family_name="x" * 300)],
        [("learners", "bad-06", "LMS-107", "family_name")],
    ),
    "formula-like text": Case(
        [learner("bad-07", given_name="=cmd|' /C calc'!A0"), learner("bad-08", family_name="@SUM(1+1)*cmd|'x'!A0")],
        [("learners", "bad-07", "LMS-108", "given_name"), ("learners", "bad-08", "LMS-108", "family_name")],
    ),
    "integer above 2^53": Case(
        of_good("bad-09", enrollment("bad-09"), completion("bad-09"), score("bad-09", raw=2**53 + 1, max=None)),
        [("scores", "bad-09", "LMS-102", "raw")],
    ),
    "no e-mail": Case([learner("bad-10", email=None)], [("learners", "bad-10", "LMS-101", "email")]),
    "two learners with one e-mail": Case(
        [learner("bad-11", email="one@bad.test"), learner("bad-12", email="ONE@bad.test")],
        [("learners", "bad-11", "LMS-202", "email"), ("learners", "bad-12", "LMS-202", "email")],
    ),
    "unmapped course": Case(
        of_good("bad-13", enrollment("bad-13", course_id="crs-none")),
        [("enrollments", "bad-13", "LMS-204", "course_id")],
    ),
    "naive timestamp": Case(
        of_good("bad-14", enrollment("bad-14", enrolled_at="2026-05-01T00:00:00")),
        [("enrollments", "bad-14", "LMS-102", "enrolled_at")],
    ),
}
UNKNOWN = {"type": "survey.answered", "timestamp": DAY, "data": {"id": "5"}}
HALF = "lone surrogate"


@dataclass(frozen=True)
class Outcome:
    """What was answered, what is refused, what is parked, and what the CRM holds by match key."""

    answers: dict[str, httpx.Response]
    rejections: list[dict[str, Any]]
    notes: dict[str, tuple[str, str]]
    held: dict[str, dict[str, dict[str, Any]]]


OBJECTS = {
    "learners": ("contacts", "lms_user_id"),
    "enrollments": ("p_lms_enrollment", "lms_enrollment_id"),
    "completions": ("p_lms_completion", "lms_completion_id"),
}


@pytest.fixture(scope="module")
def outcome(_sandbox_of_the_session: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One tenant, one webhook a case, one run for all of them."""
    sandbox, folder = _sandbox_of_the_session, tmp_path_factory.mktemp("bad-rows")
    for address in vars(sandbox).values():
        httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    httpx.post(f"{sandbox.school}/_sandbox/reset", json=SIZE).raise_for_status()
    contract = yaml.safe_load((TENANTS / "globex.yaml").read_text(encoding="utf-8"))
    scopes = ["write", "rejections"]
    contract |= {
        "mode": "push",
        "webhooks": {"lms": [{"verify": "standard", "secrets": ["env:HOOK_SECRET"]}]},
        "clients": [{"id": "lms", "secret": "env:API_SECRET", "scopes": scopes, "requests_per_second": 1000}],
    }
    (folder / "tenants").mkdir()
    (folder / "tenants" / "globex.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    settings = Settings(folder / "tenants", folder / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_shared", {})
        for name, value in {**ENVIRON, **sandbox.environ(), "API_SECRET": "of the LMS"}.items():
            patch.setenv(name, value)
        for name in ("LMS_CRM_KEY_FILE", "LMS_CRM_STORE_URL"):
            patch.delenv(name, raising=False)
        with (
            serving(settings) as address,
            httpx.Client(base_url=address, timeout=60) as client,
            dg.DagsterInstance.ephemeral() as instance,
        ):
            yield run_through(sandbox, settings, client, instance)


def run_through(sandbox: Sandbox, settings: Settings, client: httpx.Client, instance: dg.DagsterInstance) -> Outcome:
    jobs = build_definitions(settings)

    def run(job: str) -> None:
        summary = run_job(jobs.resolve_job_def(job), "globex", instance)
        assert summary.succeeded, summary.problems

    run("full_reconcile")
    answers = {"unknown type": deliver(client, "unknown type", UNKNOWN)}
    for name in CASES.keys() - {HALF}:
        answers[name] = deliver(client, name, told(sandbox, name))
    run("sync_events")
    answers[HALF] = deliver(client, HALF, told(sandbox, HALF))
    fault(sandbox.school, {"route": "GET /api/v1/learners$", "kind": "replace", "status": 200, "body": with_half(sandbox), "times": 1})  # fmt: skip
    run("sync_events")
    fault(sandbox.school)
    events = Inbox.at(settings.state_dir).find("globex")
    notes = {event.delivery_id: (event.state.value, event.note) for event in events}
    return Outcome(answers, rejections(client), notes, {entity: held(sandbox, entity) for entity in OBJECTS})


def told(sandbox: Sandbox, name: str) -> dict[str, Any]:
    """Put the rows of a case into the LMS, with a good learner, and give the webhook that names them."""
    rows = [*CASES[name].rows, learner(good(name))]
    for entity, key, fields in rows:
        mutate(sandbox.school, object=entity, op="create", id=key, fields=fields)
    named = {(entity, key) for entity, key, _ in rows} | {(entity, key) for entity, key, _, _ in CASES[name].refused}
    items = [{"entity": entity, "id": key} for entity, key in sorted(named)]
    return {"type": "changes", "timestamp": DAY, "data": {"items": items}}


def good(name: str) -> str:
    """The id of the good learner who comes with a case."""
    return f"good-{list(CASES).index(name):02}"


def with_half(sandbox: Sandbox) -> str:
    """The LMS's answer with a name that is no Unicode, which the simulated school can't keep."""
    [other] = [row for row in records(sandbox.school, "learners") if row["id"] == good(HALF)]
    bad = {**other, **learner("bad-05")[2], "id": "bad-05", "given_name": "half \ud800 a pair"}
    return json.dumps({"items": [bad, other], "next": None, "total": 2})


def deliver(client: httpx.Client, name: str, body: dict[str, Any]) -> httpx.Response:
    content, delivery_id = json.dumps(body).encode(), name.replace(" ", "_").replace("%", "percent").replace("^", "")
    return client.post("/api/v1/hooks/globex", content=content, headers=signed(content, delivery_id))


def rejections(client: httpx.Client) -> list[dict[str, Any]]:
    form = {"grant_type": "client_credentials", "client_id": "lms", "client_secret": "of the LMS"}
    token = client.post("/api/v1/tenants/globex/token", data=form).raise_for_status().json()["access_token"]
    answer = client.get("/api/v1/tenants/globex/rejections", headers={"Authorization": f"Bearer {token}"})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["rejections"]
    return found


def held(sandbox: Sandbox, entity: str) -> dict[str, dict[str, Any]]:
    kind, match_key = OBJECTS[entity]
    rows = [row["properties"] for row in records(sandbox.hubspot, kind) if not row["archived"]]
    return {row[match_key]: row for row in rows if row.get(match_key)}


@pytest.mark.parametrize("name", CASES)
def test_202_then_refused_with_a_code_and_the_good_ones_of_the_same_webhook_arrive(outcome: Outcome, name: str) -> None:
    case = CASES[name]
    answer = outcome.answers[name]
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    keys = {(entity, key) for entity, key, _ in case.rows} | {(entity, key) for entity, key, _, _ in case.refused}
    refused = [each for each in outcome.rejections if (each["kind"], each["id"]) in keys]
    assert sorted((each["kind"], each["id"], each["code"], each["column"]) for each in refused) == case.refused
    assert all(each["side"] == "lms" and each["remedy"] for each in refused)

    bad = {(entity, key) for entity, key, _, _ in case.refused}
    for entity, key in keys | {("learners", good(name))}:
        if entity in OBJECTS:
            assert (key in outcome.held[entity]) == ((entity, key) not in bad), (entity, key)
        elif (entity, key) in bad:
            # A score is no record of its own: its completion goes without it.
            assert not outcome.held["completions"][key].get("lms_score")
    assert outcome.notes[answer.json()["delivery_id"]][0] == "done"


def test_202_then_parked_with_a_code_for_an_unknown_type(outcome: Outcome) -> None:
    answer = outcome.answers["unknown type"]

    assert answer.status_code == 202
    assert outcome.notes[answer.json()["delivery_id"]] == ("parked", "LMS-501 survey.answered")


def test_nobody_else_was_refused_or_left_waiting(outcome: Outcome) -> None:
    planned = {refusal[:2] for case in CASES.values() for refusal in case.refused}
    ours = {(each["kind"], each["id"]) for each in outcome.rejections if str(each["id"]).startswith(("bad-", "good-"))}

    assert ours == planned
    assert {state for state, _ in outcome.notes.values()} == {"done", "parked"}
