"""Who hears of what goes wrong, and from when on: the `alerts` of a contract, and of `tenants/_alerts.yaml` for all of them."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lms_crm_assets.contract.credentials import SecretRef
from lms_crm_assets.contract.endpoints import Address, ContractModel

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class AlertKind(StrEnum):
    """What a person hears of; docs/alerts.md tells what each means and what to do."""

    RUN_FAILED = "run_failed"
    REJECTED = "rejected"
    DRIFT = "drift"
    STALE = "stale"
    QUEUE = "queue"
    QUOTA = "quota"
    CREDENTIAL = "credential"
    EXPIRY = "expiry"
    SCHEMA_CHANGED = "schema_changed"
    PLAN_WAITS = "plan_waits"
    SWITCHED_TO_PULL = "switched_to_pull"
    PAUSED = "paused"
    CONTRACT = "contract"


class AlertChannel(ContractModel):
    """What all channels have in common."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="Its name; unique.")
    kinds: list[AlertKind] | None = Field(
        None, min_length=1, description="Only of these kinds it hears; of all by default."
    )


class SlackChannel(AlertChannel):
    """A chat room behind an incoming webhook as Slack, Mattermost and others have it."""

    to: Literal["slack"] = Field(description="A Slack-compatible incoming webhook.")
    url: SecretRef = Field(description="Where its address lies: whoever knows it may write there.")


class WebhookChannel(AlertChannel):
    """A program: JSON, signed as Standard Webhooks are."""

    to: Literal["webhook"] = Field(description="A signed webhook.")
    url: Address = Field(description="Where it is delivered.")
    secret: SecretRef = Field(description="What it is signed with: `whsec_` and base64 of at least 24 bytes.")


class EmailChannel(AlertChannel):
    """People with a mailbox."""

    to: Literal["email"] = Field(description="E-mail by SMTP.")
    host: str = Field(min_length=1, pattern=r"^[^\s/]+$", description="The mail server.")
    port: int = Field(587, ge=1, le=65_535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`starttls` (port 587), `tls` from the first byte (port 465), `none` for loopback only."
    )
    username: SecretRef | None = Field(None, description="Whom to log in as.")
    password: SecretRef | None = Field(None, description="With which password.")
    sender: Annotated[str, Field(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$", description="Whom the mail is from.")]
    recipients: list[Annotated[str, Field(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")]] = Field(
        min_length=1, max_length=50, description="Whom it goes to."
    )

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.security == "none" and self.host not in LOOPBACK:
            raise ValueError("security: none is for loopback only")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        return self


Channel = Annotated[SlackChannel | WebhookChannel | EmailChannel, Field(discriminator="to")]


class Alerts(ContractModel):
    """Who hears of what goes wrong, and from when on.

    What a contract leaves out is as `tenants/_alerts.yaml` says. Its channels come to those there; one of the same name takes
    that one's place.
    """

    channels: list[Channel] = Field(default_factory=list, max_length=20, description="Who is told.")
    muted: list[AlertKind] = Field(default_factory=list, description="Kinds that nobody is told of.")
    reminder_hours: float | None = Field(
        None, ge=1, description="What is not over is told again after so many hours; never by default."
    )
    failures: int = Field(1, ge=1, le=10, description="`run_failed`, `credential`: so many runs in a row failed.")
    rejected_records: int = Field(
        1, ge=1, description="`rejected`: the newest run could not bring so many records over."
    )
    drift_records: int = Field(
        25,
        ge=1,
        description="`drift`: the newest run found so many records changed in the CRM in fields that the LMS owns.",
    )
    queue_events: int = Field(10_000, ge=1, description="`queue`: so many events wait.")
    queue_minutes: float = Field(30, gt=0, description="`queue`: the oldest event waits for longer.")
    parked_events: int = Field(1, ge=1, description="`queue`: so many events are tried no more.")
    quota_share: float = Field(0.75, gt=0, le=1, description="`quota`: more of the CRM's daily calls are used.")
    expiry_days: int = Field(30, ge=0, description="`expiry`: a token or an API version ends within so many days.")
    paused_hours: float = Field(24, ge=0, description="`paused`: the tenant is paused for longer.")

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        names = [channel.name for channel in self.channels]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two channels are called {', '.join(twice)}")
        return self

    def over(self, fleet: "Alerts") -> "Alerts":
        """These, and where they say nothing the fleet's."""
        said = {name: getattr(self, name) for name in self.model_fields_set - {"channels"}}
        own = {channel.name for channel in self.channels}
        others = [channel for channel in fleet.channels if channel.name not in own]
        return fleet.model_copy(update={**said, "channels": [*others, *self.channels]})
