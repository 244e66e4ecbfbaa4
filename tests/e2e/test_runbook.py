"""Every command of docs/runbook.md works as it is written there, in the situation that its heading is about."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lms_crm_assets.demo.proof import agrees, prove_acme
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings
from tests.e2e.documented import blocks, shell
from tests.privileges import documented_calls, unlisted
from tests.sandbox_control import mutate, records, requests

pytestmark = pytest.mark.slow


_DEAD = "http://127.0.0.1:9"


def test_every_scenario_is_in_it() -> None:
    headings = {block.heading for block in blocks("runbook.md")}

    assert headings >= {
        "The CRM is down",
        "The LMS is down",
        "The day's calls are used up",
        "A secret leaked",
        "A drift storm",
        "The inbox is full or stands still",
        "A damaged file",
        "A bad mapping was shipped",
        "A mass overwrite",
        "Replay",
        "Restore",
        "The disk is full",
        "A run is stuck",
    }


@pytest.mark.long
def test_each_command_works_as_written_and_the_crm_agrees_at_the_end(
    sandbox: Sandbox, settings: Settings, dagster_home: Path, tmp_path: Path
) -> None:
    situations = _situations(sandbox, settings)
    with shell(tmp_path, settings) as run:
        for tenant in ("acme", "globex"):
            assert run(f"lms-crm reconcile --tenant {tenant}").returncode == 0
        for block in blocks("runbook.md"):
            environ = situations.get((block.heading, block.n), dict)()
            done = run(block.text, **environ)
            assert done.returncode == block.exit_code, f"{block}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stdout + done.stderr
            if (block.heading, block.n) == ("A drift storm", 1):
                assert all(r["FirstName"] != "By an import" for r in records(sandbox.salesforce, "Contact"))

    assert dagster_home.is_dir()
    assert agrees(prove_acme(sandbox.moodle, sandbox.salesforce))
    # Nothing of all this took a right that docs/least-privilege.md does not name.
    for address, system in ((sandbox.salesforce, "Salesforce"), (sandbox.hubspot, "HubSpot")):
        assert unlisted(requests(address), documented_calls(system)) == []


def _situations(sandbox: Sandbox, settings: Settings) -> Mapping[tuple[str, int], Callable[[], dict[str, str]]]:
    """What happened before a block, by heading and number; gives what is different in its environment."""

    def an_import_in_the_crm() -> dict[str, str]:
        for each in [r for r in records(sandbox.salesforce, "Contact") if r.get("LMS_User_Id__c")][:20]:
            mutate(
                sandbox.salesforce, object="Contact", op="update", id=each["Id"], fields={"FirstName": "By an import"}
            )
        return {}

    def a_parked_delivery() -> dict[str, str]:
        # In a process of its own, so that this one has no file open when one is restored.
        subprocess.run([sys.executable, "-c", _PARK, str(settings.state_dir)], check=True)
        return {}

    def a_damaged_warehouse() -> dict[str, str]:
        file = settings.state_dir / "warehouse" / "acme.duckdb"
        content = bytearray(file.read_bytes())
        content[12288:] = bytes(len(content) - 12288)
        file.write_bytes(content)
        return {}

    def a_lost_state() -> dict[str, str]:
        shutil.rmtree(settings.state_dir)
        return {}

    return {
        ("The CRM is down", 0): lambda: {"ACME_CRM_URL": _DEAD},
        ("The LMS is down", 0): lambda: {"ACME_LMS_URL": _DEAD},
        ("A drift storm", 0): an_import_in_the_crm,
        ("The inbox is full or stands still", 0): a_parked_delivery,
        ("A damaged file", 0): a_damaged_warehouse,
        ("Restore", 0): a_lost_state,
    }


_PARK = """
import sys
from pathlib import Path
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side
inbox = Inbox.at(Path(sys.argv[1]))
inbox.add([Delivery("globex", Side.LMS, "a-delivery", "application/json", b'{"type": "learner.updated", "id": "1"}')])
(event,) = inbox.lease("globex", 10, 60)
inbox.park(event.number, "tried for a day")
"""
