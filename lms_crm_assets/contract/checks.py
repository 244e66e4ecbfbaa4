"""What a contract says of the checks on the LMS's rows: when refused rows stop a run, and the tenant's own rules."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from lms_crm_assets.contract.checked import CHECKED, DESTINATION, KEYS
from lms_crm_assets.contract.endpoints import TENANT_NAME, ContractModel
from lms_crm_assets.contract.expressions import ExpressionError, compile_expression
from lms_crm_assets.domain import FieldType, LmsEntity, RuleSeverity

Share = Annotated[float, Field(ge=0, le=1)]


def _off(value: Any) -> Any:
    """In YAML a bare `off` is no word but false."""
    return RuleSeverity.OFF if value is False else value


GivenSeverity = Annotated[RuleSeverity, BeforeValidator(_off)]


class RuleChange(ContractModel):
    """One rule made stricter or looser, on all columns that it judges or on some."""

    code: str = Field(description="The rule's code, see docs/error-codes.md.")
    entity: LmsEntity | None = Field(None, description="Only there; everywhere by default.")
    column: str | None = Field(
        None,
        description="Only this column, of LMS-3xx this field of the CRM; every one that the rule judges by default.",
    )
    severity: GivenSeverity | None = Field(
        None,
        description="`error` refuses the row or withholds the record, `warn` lets it pass and counts it, `off` doesn't look.",
    )
    limit: float | None = Field(None, ge=0, description="The rule's figure: characters, days, a year or a percentage.")
    max_share: Share | None = Field(
        None, description="Above this share of an entity's rows that break the rule nothing is sent."
    )

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if self.code in DESTINATION:
            if (self.entity, self.limit, self.max_share) != (None, None, None) or self.severity is None:
                raise ValueError(
                    f"of {self.code} only the severity can be changed, for all fields of the CRM or one (column)"
                )
            return self
        checked = CHECKED.get(self.code)
        if checked is None:
            raise ValueError(
                f"'{self.code}' is no rule that can be changed: use one of {', '.join((*CHECKED, *DESTINATION))}"
            )
        if self.entity is not None and self.entity not in checked.columns:
            raise ValueError(f"{self.code} doesn't judge {self.entity}, but {', '.join(checked.columns)}")
        judged = {c for e, columns in checked.columns.items() if self.entity in (None, e) for c in columns}
        if self.column is not None and self.column not in judged:
            raise ValueError(f"{self.code} doesn't judge '{self.column}', but {', '.join(sorted(judged))}")
        if self.limit is not None and checked.limit is None:
            raise ValueError(f"{self.code} has no limit that could be changed")
        least, most = checked.bounds
        if self.limit is not None and not least <= self.limit <= most:
            raise ValueError(f"the limit of {self.code} ({checked.unit}) lies between {least:g} and {most:g}")
        if self.severity in {RuleSeverity.WARN, RuleSeverity.OFF}:
            if checked.fixed:
                raise ValueError(f"{self.code} can't be loosened: such a row has no place in the CRM")
            if self.column in KEYS and self.code == "LMS-101":
                raise ValueError(f"{self.code} can't be loosened on '{self.column}': the row would be nobody's")
        if (self.severity, self.limit, self.max_share) == (None, None, None):
            raise ValueError("say what changes: severity, limit or max_share")
        return self


class OwnRule(ContractModel):
    """A rule of the tenant's own on one kind of row; rows that break it have the code LMS-299 and the rule's name."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="The rule's name, as it is shown.")
    entity: LmsEntity = Field(description="Which rows it judges.")
    column: str = Field(description="The column to blame.")
    holds: str = Field(
        description="A yes/no SQL expression (DuckDB) over the entity's canonical columns, as in a mapping. A row breaks"
        " the rule where it is false; where it is null nothing is said."
    )
    severity: GivenSeverity = Field(RuleSeverity.ERROR, description="As of the rules that come with us.")
    meaning: str = Field("", max_length=300, description="What is wrong with such a row, for people.")
    remedy: str = Field("", max_length=300, description="What to do about it, for people.")
    max_share: Share | None = Field(
        None, description="Above this share of the entity's rows that break the rule nothing is sent."
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        try:
            compiled = compile_expression(self.holds, self.entity)
            blamed = compile_expression(self.column, self.entity).columns
        except ExpressionError as exc:
            raise ValueError(str(exc)) from exc
        if compiled.type is not FieldType.BOOLEAN:
            raise ValueError("'holds' has to be a condition, as in: email LIKE '%@example.org'")
        if blamed != {self.column}:
            raise ValueError("'column' has to be the name of one canonical column")
        return self

    @property
    def sql(self) -> str:
        """The condition as SQL over the canonical columns."""
        return compile_expression(self.holds, self.entity).sql


class ChecksPolicy(ContractModel):
    """Which rules judge the LMS's rows, how strictly, and when refused rows stop a run."""

    max_invalid_share: Share = Field(0.25, description="Above this share of refused rows in one table nothing is sent.")
    max_shrink_share: Share = Field(
        0.5,
        description="A full pull that lost a larger share of its rows is not believed, and nothing of it is loaded.",
    )
    rules: list[RuleChange] = Field(
        default_factory=list, max_length=200, description="Rules that are stricter or looser than they come."
    )
    own: list[OwnRule] = Field(default_factory=list, max_length=50, description="Rules of the tenant's own.")
    compare_schema_with: str | None = Field(
        None,
        pattern=TENANT_NAME,
        description="Another tenant, of production say: a check tells what this one's CRM has that the other's lacks.",
    )
    mask_samples: bool = Field(
        default=True,
        description="Whether the samples of refused rows that the UI shows mask learner data; who sees the UI sees them.",
    )
