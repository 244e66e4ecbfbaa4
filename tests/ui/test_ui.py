"""What an analytics engineer sees in the Dagster UI: the graph, the rows, what is refused, the plan, the delivery."""

import re
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from playwright.sync_api import Error, Locator, Page, expect

from lms_crm_assets.domain import CrmObject, LmsEntity
from tests.sandbox_control import mutate, records
from tests.ui.conftest import DagsterUI, Shoot
from tests.webhook_catcher import delivered

pytestmark = pytest.mark.slow

_TRIES = 10


@pytest.fixture(scope="module", autouse=True)
def _materialized(ui: DagsterUI, page: Page, shoot: Shoot) -> None:
    """Globex by its job, then acme by clicking "Materialize all": so the latest figures everywhere are acme's."""
    globex = ui.launch("full_reconcile", "globex")
    page.goto("/asset-groups", wait_until="domcontentloaded")
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    dialog.get_by_text("Select a partition or create one").click()
    choices = page.get_by_role("dialog").filter(has=page.get_by_placeholder("Filter partitions"))
    expect(choices.get_by_role("menuitem", name="globex")).to_be_visible()
    choices.get_by_role("menuitem", name="acme").click()
    shoot(page, "1-launch")
    page.keyboard.press("Escape")
    ui.wait_for(globex)
    page.get_by_role("button", name="Launch 1 run").click()
    page.get_by_role("button", name="View", exact=True).or_(page.get_by_role("link", name="View", exact=True)).click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first).to_be_visible(timeout=180_000)
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    shoot(page, "2-run")


def test_the_graph_goes_from_the_lms_to_the_crm(page: Page, shoot: Shoot) -> None:
    # The graph is fitted to the window; of what is drawn small the UI leaves out the numbers.
    usual = page.viewport_size
    page.set_viewport_size({"width": 3200, "height": 1400})
    page.goto("/asset-groups", wait_until="domcontentloaded")

    names = ("raw_lms", "staging", "discovery", "crm_snapshot", "delta", "sync")
    groups = {name: _group(page, name) for name in names}
    for group in groups.values():
        expect(group).to_be_visible()
    for name, group in groups.items():
        # The number is that of the assets in the state of their colour: all of them, none is missing a tenant.
        number = len(LmsEntity) if name in {"raw_lms", "staging"} else len(CrmObject) + (name in {"delta", "sync"})
        expect(group).to_have_text(f"{name}{2 if name == 'discovery' else number}")
    shoot(page, "3-lineage")

    left = {name: _left(group) for name, group in groups.items()}
    assert left["raw_lms"] < left["staging"] < left["delta"] < left["sync"]
    assert left["discovery"] < left["crm_snapshot"] < left["delta"]
    if usual is not None:
        page.set_viewport_size(usual)


def test_the_learners_are_counted_for_each_tenant(page: Page, shoot: Shoot) -> None:
    page.goto("/assets/staging/learner", wait_until="domcontentloaded")
    expect(page.get_by_text("People who learn, one row each.")).to_be_visible()
    expect(page.get_by_text("Row count", exact=True).locator("xpath=..")).to_have_text("Row count202")
    columns = _rows(page, "Column name")
    shoot(page, "4-learner")
    assert [row[0] for row in columns[1:]] == [
        "source_id",
        *(f"{name}\npii" for name in ("external_id", "username", "email", "given_name", "family_name")),
        "organization",
        "country",
        "status",
        "extra\npii",
        *("source_updated_at", "observed_at", "row_hash"),
    ]

    for tenant, in_lms, valid in (("acme", "203", "202"), ("globex", "995", "975")):
        page.goto(f"/assets/staging/learner?view=partitions&partition={tenant}", wait_until="domcontentloaded")
        expect(page.get_by_text("Materialized (2)")).to_be_visible()
        figures = {row[0]: row[1] for row in _rows(page, "in_lms")}
        shoot(page, f"5-learner-{tenant}")
        assert figures["in_lms"] == in_lms
        assert figures["dagster/row_count"] == valid


def test_refused_learners_are_a_table_with_code_and_remedy(page: Page, shoot: Shoot) -> None:
    page.goto("/assets/staging/learner?view=checks&checkDetail=schema_rules", wait_until="domcontentloaded")
    told = "^acme: 1 of 203 rows are refused in all. Of these: .*LMS-104 email_format \\(email\\) × 1: "
    expect(page.get_by_text(re.compile(told))).to_be_visible()
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible()

    rows = _rows(page, "first_seen")
    shoot(page, "6-schema-rules")
    assert rows[0] == [
        *("source_id", "code", "rule", "severity", "column", "value", "attempts", "first_seen", "remedy"),
    ]
    # Moodle's guest, as recorded. A learner's data is in the warehouse, not in Dagster's database.
    assert sorted([*row[:6], row[8]] for row in rows[1:]) == [
        ["1", "LMS-101", "required_value", "error", "family_name", "(empty)", "Fill the value in the LMS."],
        ["1", "LMS-104", "email_format", "error", "email", "r… (14 characters)", "Correct the address in the LMS."],
    ]
    # Every rule has its row, whether it was broken or not.
    assert ["LMS-107", "name_length", "given_name", "error", "0", "0"] in [
        row[:6] for row in _rows(page, "share_percent")
    ]
    assert "@" not in page.locator("body").inner_text()


def test_what_the_crm_says_of_itself_is_judged(page: Page, shoot: Shoot) -> None:
    page.goto("/assets/discovery/crm_schema?view=checks&checkDetail=fits_contract", wait_until="domcontentloaded")
    expect(page.get_by_text("acme: the CRM can hold what the contract sends.")).to_be_visible()
    shoot(page, "6-crm-schema")
    for name in ("as_accepted", "fits_contract", "like_production", "supported"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()


def test_the_plan_names_what_will_be_written(page: Page, shoot: Shoot) -> None:
    page.goto("/assets/delta/contact", wait_until="domcontentloaded")
    expect(page.get_by_text("Row count", exact=True).locator("xpath=..")).to_have_text("Row count202")

    plan = _rows(page, "external_id")
    shoot(page, "7-delta-contact")
    assert plan[0] == ["external_id", "action", "field", "old", "new", "class", "owner"]
    assert len(plan) == 1 + 50
    assert {(row[1], row[5]) for row in plan[1:]} == {("create", "ours")}
    assert all(row[2].startswith("(new record with ") for row in plan[1:])

    page.goto("/assets/delta/plan", wait_until="domcontentloaded")
    summary = _rows(page, "create")
    shoot(page, "7-plan")
    assert ["contact", "202"] in [row[:2] for row in summary]


def test_the_delivery_is_counted(page: Page, shoot: Shoot) -> None:
    page.goto("/assets/sync/contact", wait_until="domcontentloaded")
    expect(page.get_by_text("upserted by its match key")).to_be_visible()
    figures = {row[0]: row[-1] for row in _rows(page, "records_created")}
    shoot(page, "8-sync-contact")
    assert figures["records_created"] == "202"
    assert figures["records_rejected"] == figures["records_failed"] == "0"
    assert figures["write_calls"] == "2"

    page.goto("/assets/sync/contact?view=checks", wait_until="domcontentloaded")
    page.get_by_text("converged", exact=True).first.click()
    expect(page.get_by_text("acme: 202 of 202 written records were read back, all are as planned.")).to_be_visible()
    page.get_by_text("delivered", exact=True).first.click()
    expect(page.get_by_text("acme: all 202 records were taken by the CRM.")).to_be_visible()
    shoot(page, "9-delivered")


def test_the_fleets_page_leads_to_each_tenants_run(ui: DagsterUI, page: Page, shoot: Shoot) -> None:
    ui.wait_for(ui.launch("look_after_fleet"))
    page.goto("/assets/fleet_health", wait_until="domcontentloaded")
    expect(page.get_by_text("The page to open in the morning")).to_be_visible()
    rows = _rows(page, "promised_minutes")
    # Globex by its job, acme by the click.
    assert {(row[0], row[1]) for row in rows[1:]} == {("acme", "fresh"), ("globex", "fresh")}
    link = page.get_by_role("link", name=re.compile("^full run of ")).first
    shortened = page.get_by_text("[Show Markdown]")
    expect(link.or_(shortened).first).to_be_visible()
    shoot(page, "10-fleet")
    # Behind that the UI keeps what is longer than a thousand characters.
    if shortened.is_visible():
        shortened.click()
    link.click()
    page.wait_for_url("**/runs/*")


def test_a_refused_learner_is_mended_planned_and_applied(ui: DagsterUI, page: Page, shoot: Shoot) -> None:
    _expect_check(page, "staging/learner", "schema_rules", "^acme: 1 of 203 rows are refused in all", "Failed")
    nameless, homeless = sorted(_rows(page, "first_seen")[1:], key=lambda row: row[1])
    assert (nameless[0], nameless[4]) == ("1", "family_name")
    assert (homeless[0], homeless[4]) == ("1", "email")

    with ui.untold() as moodle:
        fields = {"firstname": "Gwen", "lastname": "Guest", "email": "gwen.guest@acme.test"}
        mutate(moodle, object="users", op="update", id=int(nameless[0]), fields=fields)

        _launch(ui, page, "full_reconcile", "{dry_run: true}", lambda: shoot(page, "11-launchpad"))
        _expect_check(page, "staging/learner", "schema_rules", "^acme: 203 rows, none refused by these rules", "Passed")
        told = "^acme: the plan p-.* is withheld: dry run, launched so by ui; nothing is sent"
        _expect_check(page, "delta/plan", "approved", told, "Failed")
        shoot(page, "12-dry-run")

        page.goto("/assets/delta/plan", wait_until="domcontentloaded")
        assert ["contact", "1"] in [row[:2] for row in _rows(page, "create")]
        plan = {row[0]: row[-1] for row in _rows(page, "plan_id")}["plan_id"]
        shoot(page, "13-plan")

        _launch(ui, page, "apply", f"{{apply_plan: {plan}}}", lambda: shoot(page, "14-apply"))
        _expect_check(page, "delta/plan", "approved", "^acme: the plan may be sent", "Passed")
        told = "^acme: 1 of 1 written records were read back, all are as planned"
        _expect_check(page, "sync/contact", "converged", told, "Passed")
        shoot(page, "15-converged")
        assert "gwen.guest@acme.test" not in page.locator("body").inner_text()


def test_what_changes_in_the_sandbox_is_told_to_the_receiver(ui: DagsterUI) -> None:
    receiver = ui.address("The receiver:")
    assert httpx.get(f"{receiver}/readyz").status_code == 200
    school, hubspot = ui.address("school"), ui.address("hubspot")
    assert httpx.get(f"{hubspot}/_sandbox/webhooks").json()["changed"] == 0, "our own writes are not told"

    mutate(school, object="courses", op="update", id="crs-0000001", fields={"title": "Told"})
    mutate(ui.address("moodle"), object="courses", op="update", id=2, fields={"fullname": "Told"})
    mutate(hubspot, object="contacts", op="create", properties={"lms_user_id": "told"})

    for address in (school, ui.address("moodle"), hubspot):
        told = delivered(address)
        assert (told["changed"], told["answers"]) == (1, {"202": 1})
    # The tenants' mode is hybrid: what waits starts a run.
    give_up_at = time.monotonic() + 300
    while "Told" not in {row["properties"]["hs_course_name"] for row in records(hubspot, "courses")}:
        assert time.monotonic() < give_up_at
        time.sleep(0.5)


def test_commands_in_another_terminal_find_what_dev_has_started(ui: DagsterUI) -> None:
    found = ui.shell("events list")
    assert found.returncode == 0, found.stderr
    assert {"acme", "globex"} <= set(found.stdout.split())


def _launch(ui: DagsterUI, page: Page, job: str, wish: str, look: Callable[[], None]) -> None:
    """Launch a job for acme with what is wished of its plan, by the launch form, and see it succeed."""
    page.goto(f"/locations/lms_crm_assets/jobs/{job}", wait_until="domcontentloaded")
    button = page.get_by_role("button", name="Materialize all")
    expect(button).to_be_visible()
    button.locator("xpath=following::button[1]").click()
    page.get_by_text("Open launchpad").click()
    form = page.get_by_role("dialog").filter(has_text="Launchpad (configure assets)")
    editor = form.locator(".cm-s-config-editor")
    expect(editor).to_contain_text("delta__plan")
    # The tenants are there to choose from only now; a choice puts the job's own configuration into the editor.
    tenant = form.get_by_placeholder("Partition")
    choice = page.get_by_role("menuitem", name="acme").or_(page.get_by_role("option", name="acme")).first
    for _ in range(_TRIES):  # what is typed before the list has come opens none
        tenant.fill("")
        tenant.fill("acme")
        with suppress(Error):
            choice.click(timeout=3_000)
            break
    expect(form.get_by_text("partition: acme")).to_be_visible()
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(f"ops: {{raw_lms: {{config: {{mode: full}}}}, delta__plan: {{config: {wish}}}}}")
    expect(editor).to_contain_text(wish)
    expect(form.get_by_text("No errors")).to_be_visible()
    look()
    known = ui.runs(job)
    form.get_by_text("Materialize", exact=True).last.click()
    ui.wait_for_another(job, known)


def _expect_check(page: Page, asset: str, check: str, told: str, verdict: str) -> None:
    page.goto(f"/assets/{asset}?view=checks&checkDetail={check}", wait_until="domcontentloaded")
    expect(page.get_by_text(re.compile(told)).first).to_be_visible()
    expect(page.get_by_text(verdict, exact=True).first).to_be_visible()


def _group(page: Page, name: str) -> Locator:
    """A collapsed group of the graph."""
    return page.locator("svg foreignObject").filter(has_text=re.compile(f"^{name}"))


def _left(locator: Locator) -> float:
    box = locator.bounding_box()
    assert box is not None
    return box["x"]


def _rows(page: Page, heading: str) -> list[list[str]]:
    """The texts of the innermost table in which the heading stands."""
    table = page.locator("table").filter(has=page.get_by_text(heading, exact=True)).last
    expect(table).to_be_visible()
    return [row.locator("th, td").all_inner_texts() for row in table.locator("tr").all()]
