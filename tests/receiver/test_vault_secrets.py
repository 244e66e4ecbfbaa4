"""Secrets of webhooks and clients that lie in the vault: the tenant's own, also while the store can't be reached."""

import base64
from pathlib import Path

import pytest

from lms_crm_assets.contract.credentials import Resolve
from lms_crm_assets.errors import CredentialError, RetryableError
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.vault import Vault
from lms_crm_assets.receiver.problems import Problem
from lms_crm_assets.receiver.tenants import Secrets


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperationalStore:
    monkeypatch.setenv("LMS_CRM_KEY", base64.b64encode(b"k" * 32).decode())
    monkeypatch.delenv("LMS_CRM_KEY_FILE", raising=False)
    return OperationalStore(tmp_path)


def test_the_vault_serves_the_receiver(store: OperationalStore) -> None:
    now, reachable = [0.0], [True]

    def of(tenant: str) -> Resolve:
        if not reachable[0]:
            raise RetryableError("the store can't be reached")
        return secrets_of(tenant, store)

    secrets = Secrets(of, lambda: now[0])
    Vault.opened(store).keep("acme", "hook", "first")

    assert secrets.values("acme", ["vault:hook", "env:NOBODY_SET_IT"]) == [b"first"]
    with pytest.raises(CredentialError, match="no secret hook of globex"):
        secrets.values("globex", ["vault:hook"])

    Vault.opened(store).keep("acme", "hook", "second")
    now[0] = 11.0
    assert secrets.values("acme", ["vault:hook"]) == [b"second"]

    reachable[0], now[0] = False, 22.0
    assert secrets.values("acme", ["vault:hook"]) == [b"second"]
    with pytest.raises(Problem):
        secrets.values("acme", ["vault:another"])
