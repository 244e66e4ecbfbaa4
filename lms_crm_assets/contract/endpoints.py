"""What the two ends of a contract share: the base of their models, and what an address may be."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

TENANT_NAME = r"^[a-z][a-z0-9_-]{0,62}$"
"""What a tenant may be called."""


class ContractModel(BaseModel):
    """The base of all parts of a contract: values that don't change, and no key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _base_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        hostname, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError("is no address") from exc
    loopback = parts.scheme == "http" and hostname in {"127.0.0.1", "localhost", "::1"}
    if not hostname or not (parts.scheme == "https" or loopback):
        raise ValueError("must start with https:// (plain http only for loopback)")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must be an address alone, without user, query or fragment")
    return url.rstrip("/")


Address = Annotated[str, AfterValidator(_base_address)]
