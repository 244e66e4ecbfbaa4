"""Sealing: AES-GCM with associated data, so that what is copied to another place opens for nobody.

What is sealed begins with a mark and the id of its key, so that a key that is missing can be named. What was sealed
before there were ids has neither.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.keys import Key, KeyRing

HEAD_BYTES = 8
"""Mark and key id."""

_MARK = b"\0lc1"
_NONCE_BYTES = 12


class Seal:
    """What lies on a disk is sealed with the present key; it opens with the same associated data only."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self._ciphers: dict[str, AESGCM] = {}

    @property
    def head(self) -> bytes:
        """How what is sealed from now on begins."""
        return _head(self.ring.present)

    def close(self, content: bytes, associated: bytes) -> bytes:
        """The content as it may lie on a disk."""
        key, nonce = self.ring.present, os.urandom(_NONCE_BYTES)
        return _head(key) + nonce + self._cipher(key).encrypt(nonce, content, associated)

    def open(self, sealed: bytes, associated: bytes, what: str) -> bytes:
        """What was sealed; `CredentialError` tells of `what` why it can't be opened."""
        named = key_id(sealed)
        if named is not None and all(key.id != named for key in self.ring.keys):
            self.ring.look()
        for key in self.ring.keys:
            for body in [sealed[HEAD_BYTES:]] if key.id == named else [sealed]:
                try:
                    return self._cipher(key).decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], associated)
                except (InvalidTag, ValueError):  # ValueError: it is cut short
                    continue
        held = " and ".join(key.id for key in self.ring.keys)
        if any(key.id == named for key in self.ring.keys):
            raise CredentialError(
                f"{what} was sealed for another tenant or name, or it is damaged: it opens for nobody; enter it anew"
            )
        missing = f"the key {named}" if named is not None else "another key, or for another tenant"
        raise CredentialError(
            f"{what} was sealed with {missing}, and there is only the key {held}: put the former key as a second line into the"
            " file that LMS_CRM_KEY_FILE names"
        )

    def _cipher(self, key: Key) -> AESGCM:
        if key.id not in self._ciphers:
            self._ciphers[key.id] = AESGCM(key.content)
        return self._ciphers[key.id]


@dataclass
class Resealed:
    """What came of sealing anew: `done` so many, and `left` by the id of the key that is not there (None: it has none)."""

    done: int = 0
    left: Counter[str | None] = field(default_factory=Counter)

    @contextmanager
    def counting(self, sealed: bytes) -> Iterator[None]:
        """Count what is opened and sealed in the block; what can't be opened is left as it is."""
        try:
            yield
        except CredentialError:
            self.left[key_id(sealed)] += 1
        else:
            self.done += 1


def key_id(sealed: bytes) -> str | None:
    """The id of the key that something was sealed with; None where it was sealed before there were ids."""
    return sealed[len(_MARK) : HEAD_BYTES].hex() if sealed.startswith(_MARK) else None


def _head(key: Key) -> bytes:
    return _MARK + bytes.fromhex(key.id)
