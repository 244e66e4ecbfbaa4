"""Another key: what was sealed before still opens, is sealed anew beside the work, and needs the former key no more."""

import base64
import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.inbox import Added, Delivery, Inbox, Side
from lms_crm_assets.ops.inbox_schema import INBOX
from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.ops.seal import Resealed
from lms_crm_assets.ops.vault import Vault
from lms_crm_assets.receiver.signer import Signer
from tests.postgres import Place

OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
SECRETS = 300


def ring(*keys: str) -> KeyRing:
    return KeyRing.of(SecretStr("\n".join(keys)))


def test_everything_sealed_outlives_the_former_key(place: Place) -> None:
    store, events = place.store(), place.store(schema=INBOX)
    delivery = Delivery("acme", Side.LMS, "a", "application/json", b"{}", essence=b"what counts of it")
    Vault(store, ring(OLD)).keep("acme", "token", "t0ken")
    Inbox(events, ring(OLD)).add([delivery])
    token = Signer(ring(OLD)).token("acme", "client", ["write"])

    both = ring(NEW, OLD)
    assert Vault(store, both).named("acme", "token").get_secret_value() == "t0ken"
    assert Inbox(events, both).add([delivery]) == [Added.REPEATED]
    assert Signer(both).claims(token) is not None
    assert [Vault(store, both).reseal(), Inbox(events, both).reseal()] == [Resealed(1), Resealed(2)]
    assert [Vault(store, both).reseal(), Inbox(events, both).reseal()] == [Resealed(), Resealed()]

    assert Vault(store, ring(NEW)).named("acme", "token").get_secret_value() == "t0ken"
    assert Inbox(events, ring(NEW)).add([delivery]) == [Added.REPEATED]
    assert [event.body for event in Inbox(events, ring(NEW)).find()] == [b"{}"]
    with pytest.raises(CredentialError, match=f"with the key {ring(NEW).present.id}, and there is only the key"):
        Vault(store, ring(OLD)).named("acme", "token")
    assert Vault(store, ring(OLD)).reseal().left == {ring(NEW).present.id: 1}


def test_what_was_sealed_before_keys_had_ids_opens_and_is_sealed_anew(place: Place) -> None:
    store, nonce = place.store(), os.urandom(12)
    sealed = nonce + AESGCM(b"o" * 32).encrypt(nonce, b"of before", b"acme\0refresh_token x")
    with store.transaction() as run:
        run(
            "INSERT INTO credentials (tenant, kind, sealed, saved_at) VALUES ('acme', 'refresh_token x', ?, 7.0)",
            (sealed,),
        )

    found = Vault(store, ring(NEW, OLD)).get("acme", "refresh_token x")
    assert found is not None
    assert found.get_secret_value() == "of before"
    with pytest.raises(CredentialError, match="with another key, or for another tenant, and there is only the key"):
        Vault(store, ring(NEW)).get("acme", "refresh_token x")
    assert Vault(store, ring(NEW, OLD)).reseal() == Resealed(1)
    [kept] = Vault(store, ring(NEW)).kept()
    assert (kept.key, kept.saved_at) == (ring(NEW).present.id, 7.0)


def test_a_process_takes_up_keys_while_it_runs(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(OLD, encoding="ascii")
    running = Vault(place.store(), KeyRing.of_environment("it has", {"LMS_CRM_KEY_FILE": str(file)}))
    running.put("acme", "refresh_token x", "first")

    file.write_text(f"{NEW}\n{OLD}\n", encoding="ascii")
    Vault(place.store(), ring(NEW)).put("acme", "refresh_token x", "second")
    found = running.get("acme", "refresh_token x")
    assert found is not None
    assert found.get_secret_value() == "second"
    assert [key.id for key in running.ring.keys] == [ring(NEW).present.id, ring(OLD).present.id]
    file.write_text("half a k", encoding="ascii")
    running.ring.look()
    assert running.ring.present.id == ring(NEW).present.id


def test_three_keys_are_too_many() -> None:
    with pytest.raises(CredentialError, match="holds 3 keys: the present one comes first"):
        ring(OLD, NEW, base64.b64encode(b"x" * 32).decode())


def test_sealing_anew_disturbs_nobody_and_overwrites_nothing(place: Place) -> None:
    before = Vault(place.store(), ring(OLD))
    for number in range(SECRETS):
        before.put(f"tenant{number % 3}", f"refresh_token {number}", f"{number}.0")
    failures: list[BaseException] = []
    turn = threading.Barrier(4)

    def rotates(own: int) -> None:
        """As a run does whose refresh token is replaced each time; half of the processes have not seen the new key yet."""
        vault = Vault(place.store(), ring(NEW, OLD) if own % 2 else ring(OLD, NEW))
        try:
            turn.wait(60)
            for number in range(own, SECRETS, 3):
                tenant, kind = f"tenant{number % 3}", f"refresh_token {number}"
                kept = vault.get(tenant, kind)
                assert kept is not None
                vault.put(tenant, kind, f"{kept.get_secret_value()}.1")
        except BaseException as exc:  # noqa: BLE001 - told by the assertion below
            failures.append(exc)

    threads = [threading.Thread(target=rotates, args=(own,)) for own in range(3)]
    for thread in threads:
        thread.start()
    vault = Vault(place.store(), ring(NEW, OLD))
    turn.wait(60)
    assert not vault.reseal(most=50).left  # as one that was killed on its way
    assert not vault.reseal().left
    for thread in threads:
        thread.join()
    vault.reseal()

    assert failures == []
    after = Vault(place.store(), ring(NEW))
    values = [after.get(f"tenant{number % 3}", f"refresh_token {number}") for number in range(SECRETS)]
    assert [value and value.get_secret_value() for value in values] == [f"{number}.0.1" for number in range(SECRETS)]
