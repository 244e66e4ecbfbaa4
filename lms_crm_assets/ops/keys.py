"""The keys under which secrets and deliveries lie on a disk: the present one seals, it and the former one open.

`LMS_CRM_KEY_FILE` names a file with one key a line, `LMS_CRM_KEY` holds them apart by blanks; a key is 32 bytes in base64.
The first is the present one. A key is called by its id, which tells nothing of it.
"""

import base64
import binascii
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from lms_crm_assets.errors import CredentialError

_KEY_BYTES = 32
_ID_BYTES = 4
_MOST_KEYS = 2
# A process that runs for weeks takes up a new key within a second, for a look at the file's name and time.
_LOOK_SECONDS = 1.0
_HOW = "make one with `head -c 32 /dev/urandom | base64` and put it into a file that LMS_CRM_KEY_FILE names"


@dataclass(frozen=True)
class Key:
    """One key; `id` is eight hex digits."""

    id: str
    content: bytes = field(repr=False)

    @classmethod
    def read(cls, text: str) -> "Key":
        """The key that a text spells; `CredentialError` when it is none."""
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            content = b""
        if len(content) != _KEY_BYTES:
            raise CredentialError(
                f"the key of LMS_CRM_KEY_FILE or LMS_CRM_KEY has to be {_KEY_BYTES} bytes in base64: {_HOW}"
            )
        return cls(hashlib.sha256(b"lms-crm key id\0" + content).digest()[:_ID_BYTES].hex(), content)


class KeyRing:
    """The present key and, while there is one, the former; a file that changes counts within a second."""

    def __init__(self, read: Callable[[], str], file: Path | None = None) -> None:
        """`read` gives the keys' text; `CredentialError` when that is none. Without a `file` it is read once."""
        self._read = read
        self._file = file
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        self._version = self._seen()
        self._keys = _parsed(read())

    @classmethod
    def of(cls, text: SecretStr) -> "KeyRing":
        """These keys, for good."""
        return cls(text.get_secret_value)

    @classmethod
    def of_environment(cls, what_has: str, environ: Mapping[str, str] = os.environ) -> "KeyRing":
        """The keys that the environment names; `what_has` to be kept sealed is said when there are none."""
        file = environ.get("LMS_CRM_KEY_FILE")

        def read() -> str:
            text = environ.get("LMS_CRM_KEY", "")
            if file:
                try:
                    text = Path(file).read_text(encoding="ascii")
                except (OSError, UnicodeDecodeError) as exc:
                    raise CredentialError(f"the key file {file} can't be read: {_HOW}") from exc
            if not text.strip():
                raise CredentialError(f"{what_has} to be kept, sealed with a key, and there is none: {_HOW}")
            return text

        return cls(read, Path(file) if file else None)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The present key, then the former one where there is one."""
        if self._file is not None and time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self.look()
        return self._keys

    @property
    def present(self) -> Key:
        """The key that seals."""
        return self.keys[0]

    def look(self) -> None:
        """Take up what the file holds now; one that can't be read, half written say, changes nothing."""
        if self._file is None:
            return
        with self._lock:
            self._looked_at = time.monotonic()
            version = self._seen()
            if version == self._version:
                return
            try:
                self._keys = _parsed(self._read())
            except CredentialError:
                return
            self._version = version

    def _seen(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat() if self._file is not None else None
        except OSError:
            return None
        return found and (found.st_mtime_ns, found.st_size, found.st_ino)


def _parsed(text: str) -> tuple[Key, ...]:
    found = tuple(dict.fromkeys(Key.read(word) for word in text.split()))
    if not found:
        raise CredentialError(
            f"the key of LMS_CRM_KEY_FILE or LMS_CRM_KEY has to be {_KEY_BYTES} bytes in base64: {_HOW}"
        )
    if len(found) > _MOST_KEYS:
        raise CredentialError(
            f"LMS_CRM_KEY_FILE or LMS_CRM_KEY holds {len(found)} keys: the present one comes first and at most the former one after it;"
            " take out what `lms-crm credentials rotate` left nothing under"
        )
    return found
