"""The LMS's end of a contract: where it is, how it is entered and how it is read."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from lms_crm_assets.contract.credentials import SecretRef
from lms_crm_assets.contract.endpoints import Address, ContractModel


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError("is no time zone like Europe/London") from exc
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]
_OVERLAP = "How far an incremental pull reaches back behind its cursor, for rows stamped late."
_AT_ONCE = "Calls under way at once."


class LmsSource(ContractModel):
    """What every LMS has in common."""

    @property
    def local_timezone(self) -> str:
        """The time zone in which times without an offset are meant."""
        return "UTC"


class MoodleReports(ContractModel):
    """The ids of the report builder reports that carry what core web services give only course by course."""

    participants: int = Field(description="A report on the source 'Course participants', columns as in docs/moodle.md.")
    users: int | None = Field(
        None,
        description="A report on the source 'Users', columns as in docs/moodle.md: with it changed learners are found"
        " between the full pulls.",
    )
    competencies: int | None = Field(None, description="A report on the source 'Competencies'.")


class MoodleSource(LmsSource):
    """A Moodle site, read through its web services: by reports, or without them course by course."""

    adapter: Literal["moodle"] = Field(description="A Moodle site.")
    url: Address = Field(description="The site's address, without /webservice.")
    token: SecretRef = Field(description="A web service token.")
    timezone: TimeZone = Field("UTC", description="The time zone of the token's account: reports give local times.")
    reports: MoodleReports | None = Field(
        None, description="The reports that the integration reads. Without them every course is asked for its people."
    )
    concurrency: int = Field(4, ge=1, le=16, description=f"{_AT_ONCE} A Moodle is no quicker with more than four.")
    overlap_seconds: int = Field(3600, ge=0, description=_OVERLAP)

    @property
    def local_timezone(self) -> str:
        """The account's."""
        return self.timezone


class ChangesSource(LmsSource):
    """Any LMS or middleware that serves the changes contract."""

    adapter: Literal["changes"] = Field(description="Something that serves docs/changes-contract.md.")
    url: Address = Field(description="The address, without /api/v1.")
    token: SecretRef = Field(description="A bearer token.")
    page_size: int = Field(1000, ge=1, le=10_000, description="Rows a page.")
    concurrency: int = Field(
        8, ge=1, le=64, description=f"{_AT_ONCE} They read the segments of a listing, where the LMS has segments."
    )
    overlap_seconds: int = Field(600, ge=0, description=_OVERLAP)


class CanvasSource(LmsSource):
    """A Canvas account, read through its REST API."""

    adapter: Literal["canvas"] = Field(description="A Canvas.")
    url: Address = Field(description="The address, without /api/v1.")
    account: str = Field(
        "self",
        pattern=r"^(self|\d+)$",
        description="The account whose people and courses are read, with those below it.",
    )
    flow: Literal["token", "refresh_token"] = Field(
        "token",
        description="How it is entered: `token` (token) or `refresh_token` (client_id, client_secret, refresh_token).",
    )
    token: SecretRef | None = Field(None, description="`token`: an access token of an account admin.")
    client_id: SecretRef | None = Field(None, description="`refresh_token`: the developer key's id.")
    client_secret: SecretRef | None = Field(None, description="`refresh_token`: the developer key's secret.")
    refresh_token: SecretRef | None = Field(None, description="`refresh_token`: what the authorisation gave.")
    activities: bool = Field(
        default=True, description="Whether scores of assignments are read beside those of courses."
    )
    concurrency: int = Field(4, ge=1, le=16, description=_AT_ONCE)


class OneRosterSource(LmsSource):
    """A provider of OneRoster 1.2, rostering and gradebook. The standard knows no completions."""

    adapter: Literal["oneroster"] = Field(description="A OneRoster 1.2 provider.")
    url: Address = Field(description="The address, without /ims/oneroster.")
    token_url: Address = Field(description="Where access tokens are handed out.")
    client_id: SecretRef = Field(description="The client's id.")
    client_secret: SecretRef = Field(description="The client's secret.")
    gradebook: bool = Field(default=True, description="Whether line items and results are read as scores and ratings.")
    timezone: TimeZone = Field("UTC", description="The time zone in which the dates of enrollments begin and end.")
    page_size: int = Field(1000, ge=2, le=10_000, description="Rows a page.")
    concurrency: int = Field(4, ge=1, le=16, description=_AT_ONCE)
    overlap_seconds: int = Field(600, ge=0, description=_OVERLAP)

    @property
    def local_timezone(self) -> str:
        """The provider's."""
        return self.timezone


class ThinkificSource(LmsSource):
    """A Thinkific site, read through its public API. It knows neither scores nor competencies."""

    adapter: Literal["thinkific"] = Field(description="A Thinkific site.")
    url: Address = Field("https://api.thinkific.com", description="The API's address.")
    flow: Literal["api_key", "token"] = Field(
        "api_key", description="How it is entered: `api_key` (subdomain, api_key) or `token` (token)."
    )
    subdomain: str | None = Field(None, description="`api_key`: the site's subdomain.")
    api_key: SecretRef | None = Field(None, description="`api_key`: the site's API key.")
    token: SecretRef | None = Field(None, description="`token`: an API access token.")
    page_size: int = Field(250, ge=1, le=250, description="Rows a page.")
    concurrency: int = Field(4, ge=1, le=16, description=_AT_ONCE)
    # `updated_after` takes a second as passed: without any overlap a change in the cursor's own second is missed.
    overlap_seconds: int = Field(600, ge=1, description=_OVERLAP)


Source = Annotated[
    MoodleSource | CanvasSource | OneRosterSource | ThinkificSource | ChangesSource, Field(discriminator="adapter")
]

NEEDED = {
    ("canvas", "token"): ("token",),
    ("canvas", "refresh_token"): ("client_id", "client_secret", "refresh_token"),
    ("thinkific", "api_key"): ("subdomain", "api_key"),
    ("thinkific", "token"): ("token",),
}
"""What each way to enter an LMS needs, where there are several."""
