"""A tenant's warehouse in which something is refused at each layer, as runs leave it, and the environment to read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.landing import ensure_raw_table
from lms_crm_assets.settings import Settings
from lms_crm_assets.staging.build import build_staging
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.location import locate
from tests.conftest import TENANTS

GOOD = {"family_name": "Byron", "given_name": "Ada", "username": "ada", "status": "active"}
LEARNERS = [
    {**GOOD, "id": "1", "email": "ada@example.org"},
    {**GOOD, "id": "2", "email": "secret no address"},
    {**GOOD, "id": "3", "email": "shared@example.org"},
    {**GOOD, "id": "4", "email": "Shared@example.org"},
    {**GOOD, "id": "5", "email": "eve@example.org", "given_name": "=HYPERLINK(secret)"},
    {**GOOD, "id": "6", "email": "zed@example.org", "organization": "Closed School"},
]
OWN_RULES = """
checks:
  own:
    - {name: open_school, entity: learners, column: organization, holds: "organization <> 'Closed School'",
       meaning: The school is closed., remedy: Move the learner to another school.}
  rules:
    - {code: LMS-108, severity: warn}
"""


@dataclass
class Refused:
    """The tenant `acme` and where it lies."""

    settings: Settings

    @property
    def file(self) -> Path:
        found = locate(self.settings, "acme")
        assert isinstance(found, Path)
        return found

    def build(self, rows: Sequence[dict[str, Any]], policy: ChecksPolicy | None = None) -> None:
        """What a run does: these are the LMS's learners, and staging is made of them."""
        policy = policy or load_contract(self.settings.tenants_dir, "acme").checks
        with connect(self.file) as con:
            ensure_raw_table(con, LmsEntity.LEARNERS)
            con.execute("DELETE FROM raw_lms.learners")
            con.execute(
                "INSERT INTO raw_lms.learners SELECT payload->>'id', payload, false, now()"
                " FROM (SELECT unnest($1::VARCHAR[])::JSON AS payload)",
                [[orjson.dumps(row).decode() for row in rows]],
            )
            rules = rules_for(policy, LmsEntity.LEARNERS)
            build_staging(con, rules, adapter="changes", timezone="UTC", now=datetime.now(UTC))

    def refuse_at_the_crm(self) -> None:
        """What delta and delivery leave behind: by the CRM's schema one record, a field of another, and two answers."""
        with connect(self.file) as con:
            con.execute(
                "INSERT INTO delta.refused BY NAME SELECT unnest(['1', '6']) AS external_id, 'contact' AS object,"
                " unnest(['LMS-301', 'LMS-306']) AS code, unnest(['error', 'warn']) AS severity, 'email' AS field,"
                " 'ada@example.org' AS value, now() AS first_seen_at, now() AS last_seen_at, 2 AS attempts"
            )
            con.execute(
                "INSERT INTO sync.rejections VALUES"
                " ('contact', '1', 'upsert', 'INVALID_EMAIL', 'ada@example.org is bad', 'p', 5, now(), now(), now()),"
                " ('enrollment', '9', 'upsert', 'SOMETHING_NEW', NULL, 'p', 1, now(), now(), now())"
            )


def refused_warehouse(folder: Path, patch: pytest.MonkeyPatch) -> Refused:
    """Everything at once."""
    for name in ("GLOBEX_LMS_URL", "GLOBEX_CRM_URL"):
        patch.setenv(name, "http://127.0.0.1:9")
    for name in ("GLOBEX_LMS_TOKEN", "GLOBEX_CRM_TOKEN"):
        patch.setenv(name, "unused")
    tenants = folder / "tenants"
    tenants.mkdir()
    example = (TENANTS / "globex.yaml").read_text(encoding="utf-8").replace("tenant: globex", "tenant: acme")
    (tenants / "acme.yaml").write_text(example + OWN_RULES, encoding="utf-8")
    patch.setenv("LMS_CRM_STATE_DIR", str(folder / "state"))
    patch.setenv("LMS_CRM_TENANTS_DIR", str(tenants))
    found = Refused(Settings.from_environ())
    found.build(LEARNERS)
    found.refuse_at_the_crm()
    return found
