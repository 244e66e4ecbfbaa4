"""What reaches the receiver for a tenant: who may send webhooks, who may call its endpoints, and when it is too much."""

from typing import Annotated, Literal

from pydantic import Field

from lms_crm_assets.contract.credentials import SecretRef
from lms_crm_assets.contract.endpoints import Address, ContractModel

Secrets = Annotated[
    list[SecretRef],
    Field(
        min_length=1, max_length=4, description="Any of them is accepted, so that a new one can overlap the old one."
    ),
]
Header = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
Scope = Literal["write", "changes", "rejections", "status"]


class StandardVerifier(ContractModel):
    """Standard Webhooks: HMAC-SHA256 over id, timestamp and body, in `webhook-signature`."""

    verify: Literal["standard"] = Field(description="Standard Webhooks.")
    secrets: Secrets


class HmacVerifier(ContractModel):
    """A hex HMAC-SHA256 of the body in a header, without a timestamp, as Thinkific sends it."""

    verify: Literal["hmac"] = Field(description="A hex HMAC-SHA256 of the body.")
    header: Header = Field("X-Thinkific-Hmac-Sha256", description="The header that holds it.")
    secrets: Secrets


class JwtVerifier(ContractModel):
    """The body is a signed JWT, as of Canvas Live Events."""

    verify: Literal["jwt"] = Field(description="The body is a JWT.")
    jwks_url: Address = Field(description="Where the issuer's public keys are.")
    issuer: str | None = Field(None, min_length=1, description="Who has to have signed (`iss`).")
    audience: str | None = Field(None, min_length=1, description="For whom (`aud`).")


class TokenVerifier(ContractModel):
    """A shared secret as a member of the JSON body, as Moodle's local_webhooks plugin sends it."""

    verify: Literal["token"] = Field(description="A secret in the body.")
    member: str = Field("token", min_length=1, max_length=64, description="The member of the JSON object.")
    secrets: Secrets


class BearerVerifier(ContractModel):
    """A shared secret in `Authorization`, as bearer token or as password of basic authentication."""

    verify: Literal["bearer"] = Field(description="A secret in Authorization.")
    secrets: Secrets


class HubSpotVerifier(ContractModel):
    """HubSpot's v3 signature over method, address, body and timestamp."""

    verify: Literal["hubspot"] = Field(description="HubSpot's v3 signature.")
    client_secret: SecretRef = Field(description="The app's client secret.")


Verifier = Annotated[
    StandardVerifier | HmacVerifier | JwtVerifier | TokenVerifier | BearerVerifier, Field(discriminator="verify")
]
CrmVerifier = Annotated[HubSpotVerifier | BearerVerifier, Field(discriminator="verify")]


class Webhooks(ContractModel):
    """Who may tell the receiver that something changed. Each delivery has to satisfy one of the verifiers."""

    lms: list[Verifier] = Field(default_factory=list, max_length=4, description="Of the LMS.")
    crm: list[CrmVerifier] = Field(default_factory=list, max_length=4, description="Of the CRM.")
    public_url: Address | None = Field(
        None,
        description="The receiver's address as senders see it, where a proxy stands before it: HubSpot signs the address.",
    )


class Client(ContractModel):
    """A machine that calls the receiver's endpoints with client credentials."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="Its name.")
    secret: SecretRef = Field(description="Its secret.")
    scopes: list[Scope] = Field(min_length=1, description="What it may do.")
    requests_per_second: float = Field(20, gt=0, le=10_000, description="How often it may call.")


class Backpressure(ContractModel):
    """When a tenant goes from push to pull; it returns after three good windows."""

    oldest_seconds: float = Field(300, gt=0, description="The oldest event waits longer than this.")
    crm_p95_seconds: float = Field(5, gt=0, description="The 95th percentile of the CRM's answers is slower than this.")
    depth: int = Field(50_000, ge=1, description="More events than this wait.")
    window_seconds: float = Field(20, gt=0, description="How long a window is.")
