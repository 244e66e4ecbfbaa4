"""The two ends of a contract: where the LMS and the CRM are and how they are entered."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lms_crm_assets.contract.credentials import SecretRef


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


class MoodleReports(ContractModel):
    """The ids of the report builder reports that carry what core web services can't give in bulk."""

    participants: int = Field(description="A report on the source 'Course participants', columns as in the README.")
    competencies: int | None = Field(None, description="A report on the source 'Competencies'.")


class MoodleSource(ContractModel):
    """A Moodle site, read through its web services."""

    adapter: Literal["moodle"] = Field(description="A Moodle site.")
    url: Address = Field(description="The site's address, without /webservice.")
    token: SecretRef = Field(description="A web service token.")
    timezone: str = Field("UTC", description="The time zone of the token's account: reports give local times.")
    reports: MoodleReports = Field(description="The reports that the integration reads.")


class ChangesSource(ContractModel):
    """Any LMS or middleware that serves the changes contract."""

    adapter: Literal["changes"] = Field(description="Something that serves docs/changes-contract.md.")
    url: Address = Field(description="The address, without /api/v1.")
    token: SecretRef = Field(description="A bearer token.")
    page_size: int = Field(1000, ge=1, le=10_000, description="Rows a page.")
    overlap_seconds: int = Field(
        600, ge=0, description="How far an incremental pull reaches back behind its cursor, for rows stamped late."
    )


class SalesforceDestination(ContractModel):
    """A Salesforce org, entered by one of three OAuth flows."""

    adapter: Literal["salesforce"] = Field(description="A Salesforce org.")
    url: Address = Field(description="The org's My Domain address.")
    api_version: str = Field("68.0", pattern=r"^\d{2,3}\.0$", description="The REST API's version.")
    flow: Literal["client_credentials", "jwt", "refresh_token"] = Field(
        "client_credentials",
        description="How the org is entered: `client_credentials` (client_id, client_secret), `jwt` (client_id, username,"
        " private_key) or `refresh_token` (client_id, refresh_token, client_secret where the app has one).",
    )
    client_id: SecretRef | None = Field(None, description="The app's consumer key; every flow needs it.")
    client_secret: SecretRef | None = Field(None, description="The app's consumer secret.")
    username: str | None = Field(None, description="`jwt`: the integration user's name.")
    private_key: SecretRef | None = Field(None, description="`jwt`: the RSA key of the app's certificate, in PEM.")
    refresh_token: SecretRef | None = Field(
        None, description="`refresh_token`: the first one; those that the org hands out later are kept, sealed."
    )
    login_url: Address = Field(
        "https://login.salesforce.com",
        description="`jwt`: whom the assertion is for; https://test.salesforce.com of sandboxes.",
    )
    batch_size: int = Field(200, ge=1, le=200, description="Records a call (sObject Collections take 200).")
    concurrency: int = Field(4, ge=1, le=20, description="Calls under way at once.")
    bulk_from: int = Field(
        2000, ge=1, description="From so many records of an object on, Bulk API 2.0 jobs carry them."
    )
    bulk_query_from: int = Field(
        50_000, ge=1, description="From so many records of an object on, a Bulk API 2.0 query reads them."
    )


class HubSpotDestination(ContractModel):
    """A HubSpot portal, entered with a service key, a private app's token, or OAuth."""

    adapter: Literal["hubspot"] = Field(description="A HubSpot portal.")
    url: Address = Field("https://api.hubapi.com", description="The API's address.")
    api_version: Literal["v3", "2026-03", "2026-09"] = Field(
        "v3", description="The API's version: `v3`, or the dated paths that follow it."
    )
    flow: Literal["token", "refresh_token"] = Field(
        "token",
        description="How the portal is entered: `token` (access_token) or `refresh_token` (client_id, client_secret,"
        " refresh_token).",
    )
    access_token: SecretRef | None = Field(None, description="The token of a service key or private app.")
    client_id: SecretRef | None = Field(None, description="`refresh_token`: the OAuth app's client id.")
    client_secret: SecretRef | None = Field(None, description="`refresh_token`: the OAuth app's client secret.")
    refresh_token: SecretRef | None = Field(
        None, description="`refresh_token`: the first one; those that HubSpot hands out later are kept, sealed."
    )
    batch_size: int = Field(100, ge=1, le=100, description="Records a call (batch upsert takes 100).")
    concurrency: int = Field(8, ge=1, le=20, description="Calls under way at once.")
    calls_per_10_seconds: int = Field(
        190,
        ge=1,
        description="The portal's burst limit for this app; `throttle.crm.calls_per_10_seconds` counts before it.",
    )


NEEDED = {
    ("salesforce", "client_credentials"): ("client_id", "client_secret"),
    ("salesforce", "jwt"): ("client_id", "username", "private_key"),
    ("salesforce", "refresh_token"): ("client_id", "refresh_token"),
    ("hubspot", "token"): ("access_token",),
    ("hubspot", "refresh_token"): ("client_id", "client_secret", "refresh_token"),
}
"""What each way to enter a CRM needs."""
