"""The models of a tenant's contract; `loading` reads them from YAML."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from lms_crm_assets.contract.canonical import COLUMNS, MATCH_COLUMN, PARENTS
from lms_crm_assets.contract.credentials import SecretRef
from lms_crm_assets.domain import CrmObject, FieldType


def _base_address(url: str) -> str:
    parts = urlsplit(url)
    loopback = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if not parts.hostname or not (parts.scheme == "https" or loopback):
        raise ValueError("must start with https:// (plain http only for loopback)")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must be an address alone, without user, query or fragment")
    return url.rstrip("/")


Address = Annotated[str, AfterValidator(_base_address)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MoodleReports(_Model):
    """The ids of the report builder reports that carry what core web services can't give in bulk."""

    participants: int = Field(description="A report on the source 'Course participants', columns as in the README.")
    competencies: int | None = Field(None, description="A report on the source 'Competencies'.")


class MoodleSource(_Model):
    """A Moodle site, read through its web services."""

    adapter: Literal["moodle"]
    url: Address = Field(description="The site's address, without /webservice.")
    token: SecretRef = Field(description="A web service token.")
    timezone: str = Field("UTC", description="The time zone of the token's account: reports give local times.")
    reports: MoodleReports


class ChangesSource(_Model):
    """Any LMS or middleware that serves the changes contract."""

    adapter: Literal["changes"]
    url: Address = Field(description="The address, without /api/v1.")
    token: SecretRef = Field(description="A bearer token.")
    page_size: int = Field(1000, ge=1, le=10_000, description="Rows a page.")
    overlap_seconds: int = Field(
        600, ge=0, description="How far an incremental pull reaches back behind its cursor, for rows stamped late."
    )


class SalesforceDestination(_Model):
    """A Salesforce org, entered by the client credentials flow."""

    adapter: Literal["salesforce"]
    url: Address = Field(description="The org's My Domain address.")
    api_version: str = Field("68.0", pattern=r"^\d{2,3}\.0$", description="The REST API's version.")
    client_id: SecretRef
    client_secret: SecretRef
    batch_size: int = Field(200, ge=1, le=200, description="Records a call (sObject Collections take 200).")
    concurrency: int = Field(4, ge=1, le=20, description="Calls under way at once.")


class HubSpotDestination(_Model):
    """A HubSpot portal, entered with a service key or a private app's token."""

    adapter: Literal["hubspot"]
    url: Address = "https://api.hubapi.com"
    api_version: Literal["v3"] = "v3"
    access_token: SecretRef
    batch_size: int = Field(100, ge=1, le=100, description="Records a call (batch upsert takes 100).")
    concurrency: int = Field(8, ge=1, le=20, description="Calls under way at once.")
    calls_per_10_seconds: int = Field(190, ge=1, description="The portal's burst limit for this app.")


class FieldMapping(_Model):
    """Where one CRM field's value comes from."""

    column: str = Field(alias="from", description="A canonical column of the object.")
    type: FieldType | None = Field(None, description="How values are compared; the column's own type by default.")
    scale: int = Field(5, ge=0, le=9, description="Decimals that the CRM keeps of a number.")


class ObjectMapping(_Model):
    """How one object is kept in the CRM."""

    to: str = Field(description="The CRM's name of the object.")
    match_key: str = Field(description="The CRM field that holds the LMS's id, unique there.")
    fields: dict[str, FieldMapping] = Field(min_length=1, description="CRM field → canonical column.")
    parents: dict[CrmObject, str] = Field(
        default_factory=dict,
        description="Parent object → relationship name (Salesforce) or association label ('default' in HubSpot).",
    )

    @field_validator("fields", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"from": entry} if isinstance(entry, str) else entry for name, entry in value.items()}


class ChecksPolicy(_Model):
    """When refused rows stop a run."""

    max_invalid_share: float = Field(
        0.25, ge=0, le=1, description="Above this share of refused rows in one table nothing is sent."
    )
    max_shrink_share: float = Field(
        0.5, ge=0, le=1, description="A full pull that lost a larger share of its rows is not believed."
    )


class Contract(_Model):
    """One tenant: one LMS, one CRM, and what agrees between them."""

    version: Literal[1]
    tenant: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    description: str = ""
    source: Annotated[MoodleSource | ChangesSource, Field(discriminator="adapter")]
    destination: Annotated[SalesforceDestination | HubSpotDestination, Field(discriminator="adapter")]
    checks: ChecksPolicy = ChecksPolicy()
    objects: dict[CrmObject, ObjectMapping] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for obj, mapping in self.objects.items():
            if mapping.match_key in mapping.fields:
                raise ValueError(
                    f"objects.{obj}.fields.{mapping.match_key}: the match key is filled from the LMS's id, "
                    "it can't be mapped as well"
                )
            for name, field in mapping.fields.items():
                if field.column not in COLUMNS[obj]:
                    known = ", ".join(column for column in COLUMNS[obj] if column != MATCH_COLUMN)
                    raise ValueError(
                        f"objects.{obj}.fields.{name}: '{field.column}' is no column of {obj}; known are {known}"
                    )
            for parent in mapping.parents:
                if parent not in PARENTS[obj]:
                    raise ValueError(f"objects.{obj}.parents.{parent}: {obj} has no parent of that kind")
                if parent not in self.objects:
                    raise ValueError(f"objects.{obj}.parents.{parent}: add objects.{parent} or drop this parent")
        return self

    def in_order(self) -> list[CrmObject]:
        """The mapped objects, parents first."""
        return [obj for obj in CrmObject if obj in self.objects]
