"""`lms-crm crm setup`: what the portal lacks is shown, made when a person says so, and then the contract fits."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from typer.testing import CliRunner, Result

from lms_crm_assets.cli.app import app
from lms_crm_assets.definitions import build_definitions
from lms_crm_assets.defs.runs import run_job
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.errors import PermissionMissingError
from lms_crm_assets.settings import Settings
from tests.conftest import TENANTS
from tests.crm.hubspot.portal import configure, keys_of
from tests.sandbox_control import records, writes

Edit = Callable[..., Path]

# Everything of the contract under names that the portal doesn't have, and a label for one of the links.
ALL_NEW = (("p_lms_", "p_uni_"), ("lms_", "uni_"))


@pytest.fixture
def edit(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:  # noqa: ARG001 - environment
    """Puts a changed example contract into the tenants' folder."""
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path))
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(tmp_path / "state"))

    def put(tenant: str, *replaced: tuple[str, str]) -> Path:
        head, _, objects = (TENANTS / f"{tenant}.yaml").read_text(encoding="utf-8").partition("objects:\n")
        for old, new in replaced:
            assert old in objects, old
            objects = objects.replace(old, new)
        file = tmp_path / f"{tenant}.yaml"
        file.write_text(f"{head}objects:\n{objects}", encoding="utf-8")
        return file

    return put


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=stdin)


def setup(*words: str, stdin: str | None = None) -> Result:
    return run("crm", "setup", "--tenant", "globex", *words, stdin=stdin)


def made(sandbox: Sandbox, path: str) -> dict[str, Any]:
    """A definition as the portal tells it."""
    headers = {"Authorization": "Bearer pat-sandbox"}
    answer = httpx.get(f"{sandbox.hubspot}{path}", headers=headers).raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def test_nothing_is_made_where_nothing_is_missing(sandbox: Sandbox, edit: Edit) -> None:
    edit("globex")

    result = setup("--yes")

    assert (result.exit_code, result.output) == (
        0,
        "globex: nothing to make; the CRM has all that the contract names\n",
    )
    assert writes(sandbox.hubspot).total() == 0


@pytest.mark.slow
def test_a_portal_is_made_ready_and_a_sync_works(sandbox: Sandbox, edit: Edit) -> None:
    edit("globex", *ALL_NEW, ("{contact: default, course: default}", "{contact: Learner, course: default}"))
    assert run("tenants", "validate", "--tenant", "globex").exit_code == 1

    shown = setup(stdin="y\n")

    assert shown.exit_code == 0, shown.output
    assert shown.output.endswith("globex: the CRM has all that the contract names\n")
    assert "+ object p_uni_enrollment, linked to contacts and 0-410: objects.enrollment.to\n" in shown.output
    assert "+ field contacts.uni_user_id (string/text, unique): objects.contact.match_key\n" in shown.output
    assert "+ association label 'Learner' from p_uni_completion to contacts:" in shown.output
    validated = run("tenants", "validate", "--tenant", "globex")
    assert validated.exit_code == 0, validated.output
    with dg.DagsterInstance.ephemeral() as instance:
        settings = Settings.from_environ(os.environ)
        job = build_definitions(settings).resolve_job_def("full_reconcile")
        first, second = (run_job(job, "globex", instance) for _ in range(2))

    assert first.succeeded
    assert {obj: (o.created > 0, o.rejected, o.failed) for obj, o in first.objects.items()} == dict.fromkeys(
        ("contact", "course", "enrollment", "completion", "competency"), (True, 0, 0)
    )
    assert all(o.created == o.updated == 0 for o in second.objects.values())
    enrollments = keys_of(records(sandbox.hubspot, "uni_enrollment"), "uni_enrollment_id").values()
    assert len(enrollments) == first.objects["enrollment"].created
    assert {len(record["associations"]["contacts"]) for record in enrollments} == {1}


def test_each_kind_of_field_becomes_the_property_that_fits(sandbox: Sandbox, edit: Edit) -> None:
    edit(
        "globex",
        ("      lms_visible:", "      new_day: {from: starts_at, normalise: [date]}\n      lms_visible:"),
        ("      lms_score: score", "      lms_score: score\n      new_passed: passed\n      new_number: score_pct"),
        ("      lms_role: role", "      lms_role: role\n      new_state: status\n      new_at: starts_at"),
        ("      lms_country: country", "      lms_country: country\n      new_mail: email"),
    )

    assert setup("--yes").exit_code == 0

    kinds = {
        (to, name): tuple(
            made(sandbox, f"/crm/v3/properties/{to}/{name}")[key] for key in ("type", "fieldType", "groupName")
        )
        for to, name in (
            ("contacts", "new_mail"),
            ("0-410", "new_day"),
            ("p_lms_enrollment", "new_state"),
            ("p_lms_enrollment", "new_at"),
            ("p_lms_completion", "new_passed"),
            ("p_lms_completion", "new_number"),
        )
    }
    assert kinds == {
        ("contacts", "new_mail"): ("string", "text", "lms"),
        ("0-410", "new_day"): ("date", "date", "lms"),
        ("p_lms_enrollment", "new_state"): ("enumeration", "select", "lms"),
        ("p_lms_enrollment", "new_at"): ("datetime", "date", "lms"),
        ("p_lms_completion", "new_passed"): ("bool", "booleancheckbox", "lms"),
        ("p_lms_completion", "new_number"): ("number", "number", "lms"),
    }
    words = made(sandbox, "/crm/v3/properties/p_lms_enrollment/new_state")["options"]
    assert {word["value"] for word in words} == {"active", "invited", "suspended", "expired", "completed", "withdrawn"}


def test_options_are_added_to_those_that_are_there(sandbox: Sandbox, edit: Edit) -> None:
    edit(
        "globex",
        (
            "lms_state: state",
            "lms_state: {from: state, values: {not_started: new, in_progress: open, completed: completed}}",
        ),
    )

    result = setup("--yes")

    assert "+ new, open as options of p_lms_completion.lms_state" in result.output
    options = made(sandbox, "/crm/v3/properties/p_lms_completion/lms_state")["options"]
    assert [option["value"] for option in options] == ["not_started", "in_progress", "completed", "new", "open"]
    assert result.exit_code == 0


def test_without_consent_nothing_is_made(sandbox: Sandbox, edit: Edit) -> None:
    edit("globex", *ALL_NEW)

    refused, asked = setup(stdin="n\n"), setup("--json")

    assert refused.exit_code == asked.exit_code == 1
    assert writes(sandbox.hubspot).total() == 0
    told = json.loads(asked.stdout)
    assert [change["name"] for change in told["changes"] if change["what"] == "object"] == [
        "uni_enrollment",
        "uni_completion",
        "uni_competency",
    ]
    assert "pat-sandbox" not in asked.output + refused.output


def test_a_tier_without_custom_objects_is_told_of_the_roll_up_way(sandbox: Sandbox, edit: Edit) -> None:
    edit("globex", ("p_lms_", "p_uni_"))
    configure(sandbox.hubspot, custom_objects=False)

    result = setup("--yes")

    assert isinstance(result.exception, PermissionMissingError)
    assert "HubSpot does not make the object uni_enrollment" in str(result.exception)
    assert "crm.schemas.custom.write" in str(result.exception)
    assert "courses_enrolled, courses_completed" in str(result.exception)
    configure(sandbox.hubspot, custom_objects=True)


def test_a_standard_object_that_is_not_active_is_for_an_admin(sandbox: Sandbox, edit: Edit) -> None:
    edit("globex")
    configure(sandbox.hubspot, courses_active=False)

    result = setup("--yes")

    assert result.exit_code == 1
    assert "! objects.course.to: the CRM has no object '0-410'" in result.output
    assert "0-410, if it is a standard object, has to be activated by an admin" in result.output
    configure(sandbox.hubspot, courses_active=True)


def test_what_hubspot_refuses_is_told_and_the_rest_made(sandbox: Sandbox, edit: Edit) -> None:
    edit(
        "globex",
        ("      lms_country: country", "      lms_country: country\n      lifecyclestage: {value: alumna}"),
        (
            "parents: {contact: default, course: default}\n    fields:\n      lms_role",
            "parents: {contact: Learner, course: default}\n    fields:\n      lms_role",
        ),
    )

    result = setup("--yes")

    assert result.exit_code == 1
    assert "HubSpot does not make the options lifecyclestage: VALIDATION_ERROR" in result.output
    assert result.output.endswith("globex: 1 of these are missing still\n")
    labels = made(sandbox, "/crm/v4/associations/p_lms_enrollment/contacts/labels")["results"]
    assert "Learner" in {kind["label"] for kind in labels}


def test_what_can_not_be_made_is_left_for_the_contract(sandbox: Sandbox, edit: Edit) -> None:
    edit("globex", ("match_key: lms_user_id", "match_key: lms_username"), ("      lms_username: username\n", ""))

    result = setup("--yes")

    assert result.exit_code == 1
    assert "! objects.contact.match_key: 'lms_username' is not unique" in result.output
    assert "1 of the contract's names need an admin, or another contract" in result.output
    assert writes(sandbox.hubspot).total() == 0


@pytest.mark.parametrize("version", ["2026-03", "2026-09"])
def test_dated_paths_make_the_same(sandbox: Sandbox, edit: Edit, version: str) -> None:
    file = edit("globex", *ALL_NEW)
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("adapter: hubspot\n", f"adapter: hubspot\n  api_version: {version}\n"), encoding="utf-8"
    )

    result = setup("--yes")

    assert result.exit_code == 0, result.output
    assert all("{version}" in path for path in writes(sandbox.hubspot))


def test_for_salesforce_an_admin_gets_the_list(sandbox: Sandbox, edit: Edit) -> None:
    edit(
        "acme",
        ("LMS_Competency__c", "LMS_Skill__c"),
        ("LMS_Status__c", "Learner_State__c"),
        ("match_key: LMS_Course_Id__c", "match_key: Course_Key__c"),
    )

    result = run("crm", "setup", "--tenant", "acme", "--yes")

    assert result.exit_code == 1
    for line in (
        "+ object LMS_Skill__c, linked to Contact and LMS_Course__c: objects.competency.to",
        "    + LMS_Competency_Id__c (Text(64), unique, case-sensitive, external id)",
        "    + Rated_At__c (Date/Time)",
        "    + Proficient__c (Checkbox)",
        "+ field LMS_Course__c.Course_Key__c (Text(64), unique, case-sensitive, external id): objects.course.match_key",
        "+ field Contact.Learner_State__c (Picklist: active, suspended): objects.contact.fields.Learner_State__c",
        "+ association from LMS_Skill__c to Contact by the lookup field Contact__c: objects.competency.parents.contact",
    ):
        assert f"{line}\n" in result.output
    assert writes(sandbox.salesforce).total() == 0


def test_for_salesforce_nothing_missing_is_all_well(sandbox: Sandbox, edit: Edit) -> None:  # noqa: ARG001 - environment
    edit("acme")

    result = run("crm", "setup", "--tenant", "acme")

    assert (result.exit_code, result.output) == (0, "acme: nothing to make; the CRM has all that the contract names\n")
