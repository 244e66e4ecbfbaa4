"""The rules that judge one kind of row for one tenant: those that come with us, as its contract changes them, and its own."""

from dataclasses import dataclass
from functools import cached_property

import pandera.polars as pa
import polars as pl

from lms_crm_assets.checks import codes
from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.row_rules import PREDICATES, check, holds, own_holds
from lms_crm_assets.contract.canonical import ENTITY_COLUMNS, TEXTS
from lms_crm_assets.contract.checked import CHECKED, KEYS
from lms_crm_assets.contract.checks import ChecksPolicy, OwnRule
from lms_crm_assets.domain import LmsEntity, RuleSeverity


@dataclass(frozen=True)
class Rule:
    """One code on one column. Of a rule of the tenant's own `name` is its name, of the others the code's."""

    code: str
    column: str
    name: str
    severity: RuleSeverity
    limit: float = 0
    max_share: float | None = None


def meaning_and_remedy(policy: ChecksPolicy, code: str, name: str) -> tuple[str, str]:
    """What a code means and what to do; of a rule of the tenant's own what the contract says, if it does."""
    known = CATALOGUE[code]
    own = next((rule for rule in policy.own if rule.name == name), None) if code == codes.OWN.code else None
    return (own.meaning if own else "") or known.meaning, (own.remedy if own else "") or known.remedy


@dataclass(frozen=True)
class Rules:
    """All rules on one kind of row that are not off; `own` are the tenant's own."""

    entity: LmsEntity
    rules: tuple[Rule, ...]
    own: tuple[OwnRule, ...]

    @cached_property
    def schema(self) -> pa.DataFrameSchema:
        """The rules on a single row as a pandera schema."""
        checks = [check(rule.code, rule.column, kept) for rule, kept in self._predicates]
        checks += [check(codes.OWN.code, rule.name, own_holds(rule.name)) for rule in self.own]
        return pa.DataFrameSchema({column: pa.Column(nullable=False) for column in self._required}, checks=checks)

    @cached_property
    def passes(self) -> pl.Expr:
        """Whether a row keeps all of the schema's rules, at once: one pass, where the schema makes one a rule."""
        kept = [pl.col(column).is_not_null() for column in self._required]
        kept += [each for _, each in self._predicates]
        kept += [own_holds(rule.name) for rule in self.own]
        return pl.all_horizontal(kept) if kept else pl.lit(value=True)

    @cached_property
    def columns(self) -> list[str]:
        """The columns of candidates that the rules on a single row look at."""
        names = (name for _, kept in self._predicates for name in kept.meta.root_names())
        return sorted({*self._required, *names})

    @property
    def _required(self) -> list[str]:
        return [rule.column for rule in self.rules if rule.code == codes.REQUIRED.code]

    @property
    def _predicates(self) -> list[tuple[Rule, pl.Expr]]:
        return [(r, holds(r.code, self.entity, r.column, r.limit)) for r in self.rules if self._is_of_row(r)]

    def _is_of_row(self, rule: Rule) -> bool:
        """Whether pandera looks at it; what is no text was found when it was read as its type."""
        typed = rule.code == codes.TYPE.code and ENTITY_COLUMNS[self.entity][rule.column] not in TEXTS
        return rule.code in PREDICATES and not typed


def rules_for(policy: ChecksPolicy, entity: LmsEntity) -> Rules:
    """The rules of one entity under a contract's policy; of two changes of one rule the later counts."""
    found = []
    by_code = {code.code: code for code in codes.ROW_CODES}
    for code, checked in CHECKED.items():
        for column in checked.columns.get(entity, ()):
            severity, limit, max_share = checked.severity, checked.limit, None
            for change in policy.rules:
                if change.code == code and change.entity in (None, entity) and change.column in (None, column):
                    if change.severity is not None and not (_is_fixed(code, column) and change.severity != "error"):
                        severity = change.severity
                    limit = limit if change.limit is None else change.limit
                    max_share = max_share if change.max_share is None else change.max_share
            if severity is not RuleSeverity.OFF:
                found.append(Rule(code, column, by_code[code].rule, severity, limit or 0, max_share))
    own = tuple(rule for rule in policy.own if rule.entity is entity and rule.severity is not RuleSeverity.OFF)
    found += [Rule(codes.OWN.code, r.column, r.name, r.severity, 0, r.max_share) for r in own]
    return Rules(entity, tuple(found), own)


def _is_fixed(code: str, column: str) -> bool:
    """Whether the rule can't be loosened there; a change of all its columns loosens the others."""
    return CHECKED[code].fixed or (code == codes.REQUIRED.code and column in KEYS)
