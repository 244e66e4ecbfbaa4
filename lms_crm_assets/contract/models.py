"""The models of a tenant's contract, version 2; `loading` reads them from YAML, `rules` holds what spans keys."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from lms_crm_assets.contract.alerts import Alerts
from lms_crm_assets.contract.checks import ChecksPolicy, Share
from lms_crm_assets.contract.cron import check_cron
from lms_crm_assets.contract.destinations import HubSpotDestination, SalesforceDestination
from lms_crm_assets.contract.endpoints import TENANT_NAME, ContractModel
from lms_crm_assets.contract.privacy import Privacy, Retention
from lms_crm_assets.contract.report import Report
from lms_crm_assets.contract.rules import contradictions
from lms_crm_assets.contract.sources import (
    CanvasSource,
    ChangesSource,
    MoodleReports,
    MoodleSource,
    OneRosterSource,
    Source,
    ThinkificSource,
)
from lms_crm_assets.contract.webhooks import Backpressure, Client, Webhooks
from lms_crm_assets.domain import CrmObject, FieldType, Owner, SyncMode

__all__ = [
    "VERSION",
    "CanvasSource",
    "ChangesSource",
    "ChecksPolicy",
    "Contract",
    "Delivery",
    "FieldMapping",
    "Guardrails",
    "HubSpotDestination",
    "MoodleReports",
    "MoodleSource",
    "ObjectMapping",
    "OneRosterSource",
    "Privacy",
    "Retention",
    "SalesforceDestination",
    "Schedules",
    "Sla",
    "ThinkificSource",
    "Throttle",
]

VERSION = 2

Normaliser = Literal["trim", "lower", "upper", "country", "choices", "date"]


class FieldMapping(ContractModel):
    """What one CRM field holds. A text alone is short for `{from: …}`; either `from` or `value` is given."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["from"]}, {"required": ["value"]}]})

    source: str | None = Field(
        None,
        alias="from",
        description="A canonical column of the object, or a scalar SQL expression (DuckDB) over its columns.",
    )
    value: str | bool | int | float | None = Field(None, description="A constant, in place of `from`.")
    type: FieldType | None = Field(
        None, description="How values are compared; the column's or expression's own type by default."
    )
    owner: Owner = Field(
        Owner.NEVER_NULL,
        description="Whose word counts. `enforce`: the LMS's, also when it is empty. `never_null`: the LMS's, unless it"
        " is empty. `fill_if_empty`: the LMS fills an empty field and touches no other. `observe`: never written, only"
        " reported.",
    )
    normalise: list[Normaliser] = Field(
        default_factory=list,
        description="Applied to both sides before they are compared: `trim` (texts always are), `lower`, `upper`,"
        " `country` (names, alpha-2 and alpha-3 codes to alpha-2), `choices` (words between semicolons, in any order), `date` (a moment to its UTC date).",
    )
    values: dict[str, str] | None = Field(
        None,
        min_length=1,
        description="Canonical word → CRM word. Of a column with a closed vocabulary every word has to be named; of"
        " another an unnamed word stays as it is.",
    )
    scale: int = Field(5, ge=0, le=9, description="Decimals that the CRM keeps of a number.")
    max_length: int | None = Field(
        None, ge=1, le=131_072, description="Longer texts are cut to this many characters; as they are by default."
    )
    pii: bool | None = Field(
        None, description="Whether the value tells who somebody is; by default if a column that it reads does."
    )


def _short_form(value: Any) -> Any:
    return {"from": value} if isinstance(value, str) else value


FieldEntry = Annotated[FieldMapping, BeforeValidator(_short_form, json_schema_input_type=str | FieldMapping)]


class ObjectMapping(ContractModel):
    """How one object is kept in the CRM."""

    to: str = Field(
        min_length=1,
        description="The CRM's name of the object: its API name in Salesforce; in HubSpot `contacts`, a standard object's"
        " type id (`0-410` for courses), or `p_<name>` for a custom object.",
    )
    match_key: str = Field(min_length=1, description="The CRM field that holds the LMS's id, unique there.")
    mode: SyncMode = Field(
        SyncMode.UPSERT,
        description="`upsert`: create and update. `update`: only existing records. `insert`: only new ones. `mirror`:"
        " upsert, and archive what is gone from the LMS. `archive`: only that.",
    )
    gone: Literal["nothing", "archive"] = Field(
        "nothing",
        description="What becomes of the record whose row is gone from the LMS; `upsert` with `archive` is `mirror`.",
    )
    fields: dict[str, FieldEntry] = Field(min_length=1, description="CRM field → canonical column, or a mapping.")
    parents: dict[CrmObject, str] = Field(
        default_factory=dict,
        description="Parent object → relationship name (Salesforce) or association label ('default' in HubSpot).",
    )


class Guardrails(ContractModel):
    """What no plan may do without a person. New records never count: a first run passes.

    Updates that only fill what is empty in the CRM overwrite nothing and don't count either.
    """

    max_update_share: Share = Field(
        0.5, description="Largest share of an object's CRM records that one plan may update."
    )
    max_updates: int | None = Field(None, ge=0, description="Most records of an object that one plan may update.")
    max_archive_share: Share = Field(
        0.1, description="Largest share of an object's CRM records that one plan may archive."
    )
    max_archives: int | None = Field(1000, ge=0, description="Most records of an object that one plan may archive.")
    floor: int = Field(50, ge=0, description="Up to this many records of an object the shares don't count.")
    min_source_count: dict[CrmObject, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="Object → fewest valid rows that the LMS has to give; fewer stop the plan."
    )
    quota_share: float = Field(0.8, gt=0, le=1, description="Share of the CRM's daily calls that a run may use up to.")
    auto_apply: bool = Field(default=True, description="Whether a plan within the limits is sent without approval.")


class LmsThrottle(ContractModel):
    """How fast the LMS is asked."""

    calls_per_second: float | None = Field(None, gt=0, le=1000, description="Calls a second; no limit by default.")


class CrmThrottle(ContractModel):
    """How fast the CRM is asked."""

    calls_per_10_seconds: int | None = Field(
        None, ge=1, description="Calls in any ten seconds; by default what the destination's adapter keeps to."
    )


class Throttle(ContractModel):
    """The rates that we keep to, below what the two sides allow."""

    lms: LmsThrottle = Field(LmsThrottle(), description="Towards the LMS.")
    crm: CrmThrottle = Field(CrmThrottle(), description="Towards the CRM.")


class Delivery(ContractModel):
    """What becomes of records that the CRM refuses."""

    max_attempts: int = Field(
        5,
        ge=1,
        le=100,
        description="Runs that send a refused record again; then it is a dead letter, until its data changes or"
        " `lms-crm dead-letters replay` sends it.",
    )


class Sla(ContractModel):
    """What the tenant was promised."""

    freshness_minutes: int = Field(
        1500, ge=1, description="A CRM state older than this is reported; by default a night and an hour."
    )


class Schedules(ContractModel):
    """When runs start, as cron expressions in UTC."""

    full: Annotated[str, AfterValidator(check_cron)] = Field("0 2 * * *", description="The full reconciliation.")
    incremental: Annotated[str, AfterValidator(check_cron)] = Field(
        "*/5 * * * *", description="Pulling what changed in the LMS."
    )


class Contract(ContractModel):
    """One tenant: one LMS, one CRM, and what agrees between them."""

    version: Literal[2] = Field(description="The version of the format; files of version 1 are read as well.")
    tenant: str = Field(pattern=TENANT_NAME, description="The tenant's name, which is the file's name too.")
    description: str = Field("", description="For people.")
    mode: Literal["push", "pull", "hybrid"] = Field(
        "pull",
        description="How changes arrive: `push` (webhooks), `pull` (schedules) or `hybrid` (webhooks, and schedules).",
    )
    source: Source = Field(description="The LMS.")
    destination: Annotated[SalesforceDestination | HubSpotDestination, Field(discriminator="adapter")] = Field(
        description="The CRM."
    )
    webhooks: Webhooks = Field(Webhooks(), description="Who may tell the receiver that something changed.")
    clients: list[Client] = Field(default_factory=list, max_length=100, description="Who may call its endpoints.")
    backpressure: Backpressure = Field(Backpressure(), description="When events are too many.")
    sla: Sla = Field(Sla(), description="What the tenant was promised.")
    alerts: Alerts = Field(Alerts(), description="Who hears of what goes wrong, and from when on.")
    schedules: Schedules = Field(Schedules(), description="When runs start.")
    throttle: Throttle = Field(Throttle(), description="How fast both sides are asked.")
    checks: ChecksPolicy = Field(ChecksPolicy(), description="Which rules judge the LMS's rows.")
    guardrails: Guardrails = Field(Guardrails(), description="What no plan may do without a person.")
    delivery: Delivery = Field(Delivery(), description="What becomes of records that the CRM refuses.")
    unknown_attributes: Literal["ignore", "keep"] = Field(
        "ignore", description="Attributes of the LMS without a canonical column: dropped, or kept as JSON in `extra`."
    )
    retention_days: int = Field(
        30, ge=1, le=3650, description="How long plans, outcomes, the ledger's former states and reports are kept."
    )
    retention: Retention = Field(Retention(), description="How long other things are kept.")
    report: Report = Field(Report(), description="After which runs a page for people is made.")
    privacy: Privacy = Field(Privacy(), description="What becomes of a forgotten learner's CRM records.")
    objects: dict[CrmObject, ObjectMapping] = Field(min_length=1, description="What is kept in the CRM, and how.")

    @model_validator(mode="wrap")
    @classmethod
    def _all_mistakes(cls, document: Any, handler: Callable[[Any], Self]) -> Self:
        """Tell what the models refuse and what `rules` finds together."""
        if not isinstance(document, Mapping):
            return handler(document)
        plain = _plain(document)
        found = [
            InitErrorDetails(type=PydanticCustomError("rule", _verbatim(problem.message)), loc=problem.path, input=None)
            for problem in contradictions(plain)
        ]
        try:
            contract = handler(plain)
        except ValidationError as exc:
            refused = [
                InitErrorDetails(
                    type=PydanticCustomError(error["type"], _verbatim(error["msg"])), loc=error["loc"], input=None
                )
                for error in exc.errors(include_url=False, include_input=False, include_context=False)
            ]
            raise ValidationError.from_exception_data(cls.__name__, [*refused, *found]) from None
        if found:
            raise ValidationError.from_exception_data(cls.__name__, found)
        return contract

    @property
    def has_inbox(self) -> bool:
        """Whether anybody may deliver events for this tenant."""
        return bool(self.webhooks.lms or self.webhooks.crm or self.clients)

    def in_order(self) -> list[CrmObject]:
        """The mapped objects, parents first."""
        return [obj for obj in CrmObject if obj in self.objects]


def _verbatim(message: str) -> Any:
    """A message as a template in which nothing is filled in (pydantic wants a literal)."""
    return message


def _plain(value: Any) -> Any:
    """Models as the documents that they were read from."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {key: _plain(entry) for key, entry in value.items()} if isinstance(value, Mapping) else value
