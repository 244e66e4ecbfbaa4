"""5,000 secrets get another key while both tenants are reconciled, whose refresh tokens rotate all the while."""

import base64
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Vault
from lms_crm_assets.settings import Settings
from tests import oauth_tenants
from tests.e2e.conftest import LmsCrm

pytestmark = pytest.mark.slow

SECRETS = 5_000
TENANTS = ("acme", "globex")


@pytest.mark.long
def test_another_key_fails_no_sync(
    sandbox: Sandbox,
    settings: Settings,
    lms_crm: LmsCrm,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    keys = [base64.b64encode(os.urandom(32)).decode()]
    file = tmp_path / "key"
    file.write_text(keys[0], encoding="ascii")
    environ = {"LMS_CRM_KEY_FILE": str(file), "LMS_CRM_TENANTS_DIR": str(tmp_path)}
    store = OperationalStore.at(settings.state_dir)
    first = Vault(store, KeyRing.of(SecretStr(keys[0])))
    for number in range(SECRETS):
        first.keep(f"tenant{number % 50}", f"secret{number}", f"value {number}")
    # HubSpot's tokens serve more calls: eight at once would use a fresh one up before its turn.
    for tenant, address, calls in (("acme", sandbox.salesforce, 5), ("globex", sandbox.hubspot, 40)):
        oauth_tenants.put(tmp_path, tenant)
        for name, value in {**oauth_tenants.KEPT[tenant], "crm_refresh_token": oauth_tenants.FIRST[tenant]}.items():
            first.keep(tenant, name, value)
        changed = {"rotate_refresh_tokens": True, "token_calls": calls}
        httpx.post(f"{address}/_sandbox/options", json=changed).raise_for_status()

    begun = time.monotonic()
    runs = {tenant: lms_crm("reconcile", "--tenant", tenant, **environ) for tenant in TENANTS}
    told: list[str] = []
    while len(told) < 2 or any(run.poll() is None for run in runs.values()):
        keys.append(base64.b64encode(os.urandom(32)).decode())
        file.write_text(f"{keys[-1]}\n{keys[-2]}\n", encoding="ascii")
        if len(keys) == 2:  # the first one is killed on its way, and repeated
            killed = lms_crm("credentials", "rotate", **environ)
            while not any(each.key == KeyRing.of(SecretStr(keys[1])).present.id for each in first.kept()):
                assert killed.poll() is None
            killed.kill()
            killed.communicate()
        rotating = lms_crm("credentials", "rotate", **environ)
        out, err = rotating.communicate(timeout=300)
        assert (rotating.returncode, err) == (0, "")
        told.append(f"{time.monotonic() - begun:.1f} s: {out.strip()}")

    ended = {tenant: (run.communicate(timeout=300), run.returncode) for tenant, run in runs.items()}
    assert {tenant: code for tenant, (_, code) in ended.items()} == dict.fromkeys(TENANTS, 0), ended
    record_property("rotations", json.dumps(told))
    assert all(int(found[1]) >= SECRETS for line in told[1:] if (found := re.search(r"(\d+) secrets", line)))
    after = Vault(store, KeyRing.of(SecretStr(keys[-1])))
    assert not after.reseal().left
    for number in range(SECRETS):
        assert after.named(f"tenant{number % 50}", f"secret{number}").get_secret_value() == f"value {number}"
    for address, path in ((sandbox.salesforce, "/services/oauth2/token"), (sandbox.hubspot, "/oauth/v3/token")):
        asked = [call for call in httpx.get(f"{address}/_sandbox/log").json()["calls"] if call["path"] == path]
        # A rotated refresh token that was lost would have been refused.
        assert len(asked) > 2
        assert {call["status"] for call in asked} == {200}
