"""A source that suddenly gives a tenth of its rows: nothing is archived, and a check says why."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lms_crm_assets.demo.proof import agrees, prove_acme, prove_globex
from lms_crm_assets.demo.sandbox_process import Sandbox
from tests.conftest import TENANTS
from tests.e2e.conftest import LmsCrmHere
from tests.sandbox_control import fault, mutate, records, writes

pytestmark = pytest.mark.slow

_OBJECTS = {
    "acme": ["Contact", "LMS_Course__c", "LMS_Enrollment__c", "LMS_Completion__c", "LMS_Competency__c"],
    "globex": ["contacts", "0-410", "p_lms_enrollment", "p_lms_completion", "p_lms_competency"],
}


class Mirrored:
    """A tenant whose contacts and enrollments are archived in the CRM when they are gone from the LMS."""

    def __init__(self, tenant: str, sandbox: Sandbox, run: LmsCrmHere, folder: Path, **policies: Any) -> None:
        contract = yaml.safe_load((TENANTS / f"{tenant}.yaml").read_text(encoding="utf-8")) | policies
        for obj in ("contact", "enrollment"):
            contract["objects"][obj]["mode"] = "mirror"
        folder.mkdir()
        (folder / f"{tenant}.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
        self.tenant, self._run, self._folder = tenant, run, folder
        acme = tenant == "acme"
        self.lms, self.crm = (sandbox.moodle, sandbox.salesforce) if acme else (sandbox.school, sandbox.hubspot)

    def reconcile(self, *options: str) -> Any:
        return self._run(
            "reconcile", "--tenant", self.tenant, *options, LMS_CRM_TENANTS_DIR=str(self._folder), COLUMNS="400"
        )

    def agrees(self) -> bool:
        return agrees((prove_acme if self.tenant == "acme" else prove_globex)(self.lms, self.crm))

    def held(self) -> dict[str, list[dict[str, Any]]]:
        """Every record of the CRM as it stands there, archived ones with their mark."""
        return {name: records(self.crm, name) for name in _OBJECTS[self.tenant]}

    def lists_a_tenth(self, route: str = "") -> None:
        fault(self.lms, {"route": route, "kind": "fewer", "rows": 0.1})

    def recovers(self) -> None:
        fault(self.lms)


@pytest.mark.parametrize("tenant", ["acme"])
def test_a_tenth_of_the_source_is_not_believed_and_the_next_run_is_as_if_nothing_had_been(
    sandbox: Sandbox, lms_crm_here: LmsCrmHere, tmp_path: Path, tenant: str
) -> None:
    mirrored = Mirrored(tenant, sandbox, lms_crm_here, tmp_path / "tenants")
    assert mirrored.reconcile().returncode == 0
    before, sent = mirrored.held(), writes(mirrored.crm)
    assert len(before[_OBJECTS[tenant][0]]) > 200

    mirrored.lists_a_tenth()
    refused = mirrored.reconcile()

    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith(f"lms-crm: {tenant}: the LMS gave ")
    assert "learners where it had" in line
    assert "enrollments where it had" in line
    assert "not believed, the limit is 50.0% fewer. Nothing was loaded and nothing sent." in line
    assert "Check what the credential may see; if so many really are gone, raise checks.max_shrink_share" in line
    assert f"! raw_lms/learners: {tenant}: the LMS gave" in refused.stdout
    assert mirrored.held() == before
    assert writes(mirrored.crm) == sent

    # A pull of the changes alone, as every five minutes, archives nothing either.
    assert mirrored.reconcile("--incremental").returncode == 0
    assert mirrored.held() == before

    mirrored.recovers()
    assert mirrored.reconcile().returncode == 0
    assert writes(mirrored.crm) == sent
    assert mirrored.agrees()


@pytest.mark.long
def test_where_every_loss_is_believed_min_source_count_alone_stops_the_plan(
    sandbox: Sandbox, lms_crm_here: LmsCrmHere, tmp_path: Path
) -> None:
    mirrored = Mirrored(
        "globex",
        sandbox,
        lms_crm_here,
        tmp_path / "tenants",
        checks={"max_shrink_share": 1.0, "max_invalid_share": 1.0},
        guardrails={"min_source_count": {"contact": 200}, "max_archive_share": 1.0, "max_update_share": 1.0},
    )
    assert mirrored.reconcile().returncode == 0
    before, sent = mirrored.held(), writes(mirrored.crm)

    mirrored.lists_a_tenth()
    refused = mirrored.reconcile()

    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert "contact rows, at least 200 are expected (min_source_count). Nothing was sent." in line
    assert "! delta/plan: globex: the LMS gives" in refused.stdout
    assert "raw_lms/" not in refused.stdout
    assert mirrored.held() == before
    assert writes(mirrored.crm) == sent

    # What really is gone from a source that has recovered is archived, and that alone.
    gone = mutate(mirrored.lms, object="enrollments", op="delete", id=alive(before)[0])
    mirrored.recovers()
    assert mirrored.reconcile().returncode == 0
    assert set(alive(before)) - set(alive(mirrored.held())) == {gone["id"]}
    assert writes(mirrored.crm).total() == sent.total() + 1


def alive(held: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [row["properties"]["lms_enrollment_id"] for row in held["p_lms_enrollment"] if not row["archived"]]
