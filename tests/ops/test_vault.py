"""The vault and tokens: what rotates is kept sealed, opens for its tenant alone, and is refreshed once."""

import base64
import os
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.tokens import Tokens, refreshing
from lms_crm_assets.ops.vault import Vault

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperationalStore:
    monkeypatch.setenv("LMS_CRM_KEY", KEY)
    monkeypatch.delenv("LMS_CRM_KEY_FILE", raising=False)
    return OperationalStore(tmp_path)


def test_a_secret_is_on_the_disk_only_sealed(store: OperationalStore, tmp_path: Path) -> None:
    Vault.opened(store).put("acme", "refresh_token x", "canary-of-a-secret")

    found = Vault.opened(OperationalStore(tmp_path)).get("acme", "refresh_token x")
    assert found is not None
    assert found.get_secret_value() == "canary-of-a-secret"
    for file in tmp_path.iterdir():
        assert not file.is_file() or b"canary" not in file.read_bytes(), file
    assert (tmp_path / "ops.sqlite").stat().st_mode & 0o077 == 0


def test_a_row_that_is_copied_to_another_tenant_opens_for_nobody(store: OperationalStore) -> None:
    vault = Vault.opened(store)
    vault.put("acme", "refresh_token x", "secret")
    with store.transaction() as run:
        run("INSERT INTO credentials SELECT 'globex', kind, sealed, saved_at FROM credentials")

    with pytest.raises(CredentialError, match="globex was sealed with another key"):
        vault.get("globex", "refresh_token x")


def test_another_key_is_told_and_none_too(store: OperationalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    Vault.opened(store).put("acme", "refresh_token x", "secret")
    monkeypatch.setenv("LMS_CRM_KEY", base64.b64encode(os.urandom(32)).decode())
    with pytest.raises(CredentialError, match="another key"):
        Vault.opened(store).get("acme", "refresh_token x")

    for bad in ("", "short", "ä"):
        monkeypatch.setenv("LMS_CRM_KEY", bad)
        with pytest.raises(CredentialError, match="LMS_CRM_KEY_FILE"):
            Vault.opened(store)


def test_fifty_refusals_at_once_make_one_refresh() -> None:
    made: list[str] = []
    together = threading.Barrier(50)

    def obtain() -> str:
        made.append(f"token-{len(made)}")
        return made[-1]

    tokens = Tokens(obtain)
    first = tokens.valid()

    def refused() -> None:
        together.wait(timeout=120)
        assert tokens.valid(instead_of=first) == "token-1"

    threads = [threading.Thread(target=refused) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert made == ["token-0", "token-1"]


def test_a_rotated_refresh_token_is_kept_before_its_access_token_is_used(store: OperationalStore) -> None:
    used: list[str] = []

    def exchange(refresh_token: str) -> tuple[str, str | None]:
        used.append(refresh_token)
        return f"access-{len(used)}", f"refresh-{len(used)}"

    assert refreshing(store, "acme", SecretStr("refresh-0"), exchange)() == "access-1"
    # Another process, or this one after a restart: the first token is dead by now.
    assert refreshing(store, "acme", SecretStr("refresh-0"), exchange)() == "access-2"
    assert used == ["refresh-0", "refresh-1"]
    # A person entered the CRM anew: the new token counts, not what followed the old one.
    refreshing(store, "acme", SecretStr("refresh-new"), exchange)()
    assert used[-1] == "refresh-new"


def test_a_token_that_can_not_be_kept_is_not_used_up(store: OperationalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LMS_CRM_KEY")

    def exchange(_: str) -> tuple[str, str | None]:
        raise AssertionError("the refresh token would be lost")

    with pytest.raises(CredentialError, match="rotates has to be kept"):
        refreshing(store, "acme", SecretStr("refresh-0"), exchange)()
