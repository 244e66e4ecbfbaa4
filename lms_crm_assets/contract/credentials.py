"""References to secrets: a contract says where a secret lies, never the secret."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo

from lms_crm_assets.errors import CredentialError

PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|vault:[a-z][a-z0-9_-]{0,62})$"
"""What a reference looks like."""

SecretRef = Annotated[
    str,
    Field(
        pattern=PATTERN,
        description="Where the secret lies: env:NAME (environment variable), file:PATH (mounted file) or vault:NAME (kept"
        " with `lms-crm credentials set`).",
    ),
]


def is_reference(field: FieldInfo) -> bool:
    """Whether a key of a contract's model says where a secret lies, required or not."""
    return SecretRef in get_args(field.annotation) or any(
        getattr(detail, "pattern", None) == PATTERN for detail in field.metadata
    )


Resolve = Callable[[str], SecretStr]
"""Gives the secret behind a reference; `CredentialError` when there is none."""

# Where no references stand, whatever a text there looks like.
_FREE = frozenset({"description", "objects", "checks"})


def references(contract: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The references of a contract's content, each with the keys that lead to it: `source.token`, `clients.0.secret`."""
    yield from _references({key: value for key, value in contract.items() if key not in _FREE}, ())


def _references(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and re.match(PATTERN, value):
        yield ".".join(path), value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _references(inner, (*path, str(key)))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, inner in enumerate(value):
            yield from _references(inner, (*path, str(number)))


def resolve(ref: str, vaulted: Resolve | None = None) -> SecretStr:
    """The secret behind a reference; `CredentialError` when there is none.

    `vaulted` gives the secret of a name in the tenant's vault, where there is one.
    """
    kind, _, place = ref.partition(":")
    if kind == "env":
        value = os.environ.get(place, "").strip()
        if not value:
            raise CredentialError(f"the environment variable {place} is not set: it should hold the credential {ref}")
        return SecretStr(value)
    if kind == "vault":
        if vaulted is None:
            raise CredentialError(f"the credential {ref} lies in the vault, which is not open here")
        return vaulted(place)
    try:
        value = Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise CredentialError(f"the credential file {place} can't be read: {reason}") from exc
    if not value:
        raise CredentialError(f"the credential file {place} is empty")
    return SecretStr(value)
