"""A catalogue of bad records: each ends with its code and never in the CRM, and every good one beside them arrives.

One school is read by two tenants, for Salesforce and for HubSpot. What arrived is read from the CRMs' own records.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.delivery_codes import delivery_code
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import RunSummary, run_job
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops import tokens
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from tests.conftest import TENANTS
from tests.e2e.bad_records import (
    BAD,
    HUBSPOT,
    HUBSPOT_OPTIONS,
    LMS,
    RULES,
    SALESFORCE,
    SALESFORCE_OPTIONS,
    SCHEMA_CHANGES,
    Refusal,
    Row,
    enrollment,
    learner,
)
from tests.sandbox_control import mutate, records

pytestmark = pytest.mark.slow

SIZE = {"learners": 30, "courses": 2, "enrollments": 40}
TENANT = {SALESFORCE: "initech", HUBSPOT: "globex"}
KIND = {"learners": "contact", "courses": "course", "enrollments": "enrollment", "completions": "completion", "competencies": "competency"}  # fmt: skip
Held = dict[str, dict[str, dict[str, Any]]]
"""Records by our name of the object and by match key."""


@dataclass(frozen=True)
class Outcome:
    """What the product says that it refused, what each CRM holds, and the summaries of the last runs."""

    told: set[Refusal]
    held: dict[str, Held]
    summaries: dict[str, RunSummary]


@pytest.fixture(scope="module")
def outcome(_sandbox_of_the_session: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    sandbox, folder = _sandbox_of_the_session, tmp_path_factory.mktemp("bad-records")
    for address in vars(sandbox).values():
        httpx.post(f"{address}/_sandbox/reset").raise_for_status()
    post(f"{sandbox.school}/_sandbox/reset", SIZE)
    post(f"{sandbox.salesforce}/_sandbox/schema", SCHEMA_CHANGES)
    post(f"{sandbox.salesforce}/_sandbox/options", SALESFORCE_OPTIONS)
    post(f"{sandbox.hubspot}/_sandbox/options", HUBSPOT_OPTIONS)
    write_contracts(folder / "tenants")
    settings = Settings(folder / "tenants", folder / "state")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setattr(tokens, "_shared", {})
        for name, value in sandbox.environ().items():
            patch.setenv(name, value)
        for name in ("LMS_CRM_KEY_FILE", "LMS_CRM_STORE_URL"):
            patch.delenv(name, raising=False)
        for number, record in enumerate(BAD.values()):
            for entity, key, fields in [*record.rows, *good(number)]:
                mutate(sandbox.school, object=entity, op="create", id=key, fields=fields)
        run(settings, instance)
        for record in BAD.values():
            for entity, key, fields in record.changed:
                mutate(sandbox.school, object=entity, op="update", id=key, fields=fields)
        summaries = run(settings, instance)
        told = {refusal for where in TENANT for refusal in refusals(settings, where)}
        yield Outcome(told, {SALESFORCE: in_salesforce(sandbox), HUBSPOT: in_hubspot(sandbox)}, summaries)
    for address in vars(sandbox).values():
        httpx.post(f"{address}/_sandbox/reset").raise_for_status()


def good(number: int) -> list[Row]:
    """The good rows that the LMS gets in one batch with a bad record."""
    return [learner(f"good-{number:02}"), enrollment(f"good-{number:02}")]


def write_contracts(folder: Any) -> None:
    """Two tenants of one school: the examples' mappings, each CRM with the other example's source where it needs it."""
    folder.mkdir()
    globex, acme = (yaml.safe_load((TENANTS / f"{n}.yaml").read_text(encoding="utf-8")) for n in ("globex", "acme"))
    plain = {"mode": "pull", "webhooks": {}, "checks": RULES}
    tenants = {
        "globex": {**globex, **plain},
        "initech": {**acme, **plain, "tenant": "initech", "source": globex["source"]},
    }
    for name, contract in tenants.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")


def run(settings: Settings, instance: dg.DagsterInstance) -> dict[str, RunSummary]:
    jobs = build_definitions(settings)
    found = {}
    for tenant in TENANT.values():
        found[tenant] = run_job(jobs.resolve_job_def("full_reconcile"), tenant, instance)
        assert found[tenant].succeeded, found[tenant].problems
    return found


def refusals(settings: Settings, where: str) -> Iterator[Refusal]:
    """All that a tenant's warehouse holds of refusals; those on rows are the same for both."""
    with connect(locate(settings, TENANT[where])) as con:
        for row in con.execute('SELECT entity, source_id, code, "column" FROM staging.quarantine').fetchall():
            yield Refusal(LMS, *row)
        query = "SELECT object, external_id, code, field FROM delta.refused WHERE severity = 'error'"
        for row in con.execute(query).fetchall():
            yield Refusal(where, *row)
        query = (
            "SELECT object, external_id, code, message, operation FROM sync.rejections UNION"
            " SELECT object, external_id, code, message, operation FROM sync.outcomes WHERE status IN ('failed', 'rejected')"
            " AND sync_run_id = (SELECT arg_max(sync_run_id, created_at) FROM delta.plans)"
        )
        for obj, key, code, message, operation in con.execute(query).fetchall():
            yield Refusal(where, obj, key, delivery_code(code, message).code, operation)


def in_hubspot(sandbox: Sandbox) -> Held:
    objects = {"contact": ("contacts", "lms_user_id"), "course": ("0-410", "lms_course_id")}
    objects |= {name: (f"p_lms_{name}", f"lms_{name}_id") for name in ("enrollment", "completion", "competency")}
    found: Held = {}
    for name, (kind, key) in objects.items():
        living = [row["properties"] for row in records(sandbox.hubspot, kind) if not row["archived"]]
        found[name] = {row[key]: row for row in living if row.get(key)}
    return found


def in_salesforce(sandbox: Sandbox) -> Held:
    objects = {"contact": ("Contact", "LMS_User_Id__c")}
    objects |= {
        name: (f"LMS_{name.title()}__c", f"LMS_{name.title()}_Id__c")
        for name in ("course", "enrollment", "completion", "competency")
    }
    return {
        name: {row[key]: row for row in records(sandbox.salesforce, kind) if row.get(key) and not row.get("IsDeleted")}
        for name, (kind, key) in objects.items()
    }


def post(url: str, body: Any) -> None:
    answer = httpx.post(url, json=body, timeout=60)
    assert answer.is_success, answer.text


def test_the_catalogue_has_at_least_sixty_records_and_all_layers() -> None:
    codes = {refusal.code for record in BAD.values() for refusal in record.refused}

    assert len(BAD) >= 60
    assert {code[4] for code in codes} == {"1", "2", "3", "4"}
    assert codes <= CATALOGUE.keys()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_ends_with_its_code_and_not_in_the_crm(outcome: Outcome, name: str) -> None:
    record = BAD[name]
    keys = {key for _, key, _ in record.rows}
    assert {each for each in outcome.told if each.id in keys} == set(record.refused)

    for where, held in outcome.held.items():
        bad = {(KIND.get(r.kind, r.kind), r.id) for r in record.refused if r.where in {LMS, where}}
        for entity, key, _ in record.rows:
            obj = KIND.get(entity)
            if (entity, key) in {(changed[0], changed[1]) for changed in record.changed}:
                # It was good once: the CRM keeps what it was then.
                [state] = [
                    value for column, value in held[obj or ""][key].items() if column in {"State__c", "lms_state"}
                ]
                assert state == "completed"
            elif obj is not None:
                assert (key in held[obj]) == ((obj, key) not in bad), (where, obj, key)
            elif ("scores", key) in bad:
                # A score is no record of its own: its completion would go without it.
                assert key not in held["completion"]


def test_every_good_record_of_the_same_batches_arrived(outcome: Outcome) -> None:
    expected = {key for number in range(len(BAD)) for _, key, _ in good(number)}

    for held in outcome.held.values():
        assert expected <= held["contact"].keys()
        assert expected <= held["enrollment"].keys()


def test_nobody_else_is_refused_and_the_runs_say_that_not_all_was_taken(outcome: Outcome) -> None:
    expected = {refusal for record in BAD.values() for refusal in record.refused}

    # The simulated school has some oddities of its own.
    assert {each for each in outcome.told if not re.match(r"[a-z]{3}-\d{7}$", each.id)} == expected
    for where, tenant in TENANT.items():
        summary = outcome.summaries[tenant]
        assert not summary.agrees
        assert summary.undelivered == len({(r.kind, r.id) for r in outcome.told if r.where == where})
