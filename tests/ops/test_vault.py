"""The vault and tokens: what rotates is kept sealed, opens for its tenant alone, and is refreshed once."""

import base64
import os
import subprocess
import sys
import threading

import pytest
from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.tokens import Tokens, refreshing
from lms_crm_assets.ops.vault import Vault
from tests.postgres import Place

KEY = base64.b64encode(b"k" * 32).decode()
KEY_ID = KeyRing.of(SecretStr(KEY)).present.id


@pytest.fixture
def store(place: Place, monkeypatch: pytest.MonkeyPatch) -> OperationalStore:
    monkeypatch.setenv("LMS_CRM_KEY", KEY)
    monkeypatch.delenv("LMS_CRM_KEY_FILE", raising=False)
    return place.store()


def test_a_secret_is_kept_only_sealed(store: OperationalStore, place: Place) -> None:
    Vault.opened(store).put("acme", "refresh_token x", "canary-of-a-secret")

    found = Vault.opened(place.store()).get("acme", "refresh_token x")
    assert found is not None
    assert found.get_secret_value() == "canary-of-a-secret"
    assert b"canary" not in store.read("SELECT sealed FROM credentials")[0][0]
    for file in place.folder.iterdir():
        assert not file.is_file() or b"canary" not in file.read_bytes(), file
    assert place.url or (place.folder / "ops.sqlite").stat().st_mode & 0o077 == 0


def test_a_row_that_is_copied_to_another_tenant_opens_for_nobody(store: OperationalStore) -> None:
    vault = Vault.opened(store)
    vault.put("acme", "refresh_token x", "secret")
    with store.transaction() as run:
        run(
            "INSERT INTO credentials (tenant, kind, sealed, saved_at) SELECT 'globex', kind, sealed, saved_at FROM credentials"
        )

    with pytest.raises(CredentialError, match="kept for globex was sealed for another tenant"):
        vault.get("globex", "refresh_token x")


def test_another_key_is_told_and_none_too(store: OperationalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    Vault.opened(store).put("acme", "refresh_token x", "secret")
    monkeypatch.setenv("LMS_CRM_KEY", base64.b64encode(os.urandom(32)).decode())
    with pytest.raises(
        CredentialError, match=f"was sealed with the key {KEY_ID}, and there is only the key [0-9a-f]{{8}}:"
    ):
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

    with pytest.raises(CredentialError, match="rotates, has to be kept"):
        refreshing(store, "acme", SecretStr("refresh-0"), exchange)()


def test_an_access_token_is_not_given_out_before_its_refresh_token_is_kept(store: OperationalStore) -> None:
    def exchange(_: str) -> tuple[str, str | None]:
        with store.transaction() as run:
            run("ALTER TABLE credentials RENAME TO elsewhere")
        return "access-1", "refresh-1"

    tokens = Tokens(refreshing(store, "acme", SecretStr("refresh-0"), exchange))
    with pytest.raises(Exception, match="credentials"):
        tokens.valid()
    assert tokens._token is None


_REFRESHER = """
import sys
from pathlib import Path
from pydantic import SecretStr
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.tokens import Tokens, refreshing
store = OperationalStore.at(Path(sys.argv[1]))
moments = store.clock
def clock():
    now = moments()
    print("asked", flush=True)
    return now
def exchange(refresh_token):
    print("exchanged", refresh_token)
    sys.stdin.readline()
    return "access-of-" + sys.argv[2], "refresh-1"
store.clock = clock
print(Tokens(refreshing(store, "acme", SecretStr("refresh-0"), exchange)).valid())
"""


def test_processes_that_are_refused_together_make_one_refresh(store: OperationalStore, place: Place) -> None:
    refreshers = [
        subprocess.Popen(
            [sys.executable, "-c", _REFRESHER, str(place.folder), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=place.environ(),
        )
        for n in range(4)
    ]
    pipes = [(each.stdin, each.stdout) for each in refreshers if each.stdin and each.stdout]
    for _, answers in pipes:
        assert answers.readline() == "asked\n"
    for questions, _ in pipes:
        questions.write("go\n")
        questions.flush()
    told = [answers.read().splitlines() for _, answers in pipes]
    for refresher in refreshers:
        refresher.communicate(timeout=60)

    assert sum(lines.count("exchanged refresh-0") for lines in told) == 1
    assert len({lines[-1] for lines in told}) == 1
    kept = Vault.opened(store).get("acme", store.read("SELECT kind FROM credentials ORDER BY kind DESC")[0][0])
    assert kept is not None
    assert kept.get_secret_value() == "refresh-1"
