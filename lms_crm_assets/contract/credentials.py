"""References to secrets: a contract says where a secret lies, never the secret."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from lms_crm_assets.errors import CredentialError

SecretRef = Annotated[
    str,
    Field(
        pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$",
        description="Where the secret lies: env:NAME (environment variable) or file:PATH (mounted file).",
    ),
]


def resolve(ref: str) -> SecretStr:
    """The secret behind a reference; `CredentialError` when there is none."""
    kind, _, place = ref.partition(":")
    if kind == "env":
        value = os.environ.get(place, "").strip()
        if not value:
            raise CredentialError(f"the environment variable {place} is not set: it should hold the credential {ref}")
        return SecretStr(value)
    try:
        value = Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise CredentialError(f"the credential file {place} can't be read: {reason}") from exc
    if not value:
        raise CredentialError(f"the credential file {place} is empty")
    return SecretStr(value)
