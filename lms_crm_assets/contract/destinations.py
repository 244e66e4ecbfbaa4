"""The CRM's end of a contract: where it is and how it is entered."""

from typing import Literal

from pydantic import Field

from lms_crm_assets.contract.credentials import SecretRef
from lms_crm_assets.contract.endpoints import Address, ContractModel


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
    app_url: Address = Field(
        "https://app.hubspot.com", description="Where people allow an app access, for `lms-crm connect`."
    )
    portal_id: int | None = Field(
        None,
        ge=1,
        description="The portal's id (Hub ID): with it runs link to the pages of the records that they wrote.",
    )
    batch_size: int = Field(100, ge=1, le=100, description="Records a call (batch upsert takes 100).")
    concurrency: int = Field(
        12,
        ge=1,
        le=20,
        description="Calls under way at once. With 12 a call may take 0.6 s before the limit of 190 in ten seconds is missed.",
    )
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
