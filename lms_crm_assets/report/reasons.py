"""Why rows and records were refused: one line a reason, with what it means and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.checks.codes import OWN
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.report.facts import CHECKS, SCHEMA, RefusedFacts
from lms_crm_assets.report.words import counted, listed, system


@dataclass(frozen=True)
class Reason:
    """One reason: `who` refused, how many of what (`of_what` in words), and what helps."""

    code: str
    rule: str
    who: str
    number: int
    of_what: str
    meaning: str
    remedy: str
    crm_words: str


def reasons(refused: Sequence[RefusedFacts], policy: ChecksPolicy, crm: str) -> list[Reason]:
    """The reasons, the most frequent first; what is refused of several kinds for one reason stands together."""
    grouped: dict[tuple[str, str, str], list[RefusedFacts]] = {}
    for each in refused:
        grouped.setdefault((each.code, each.rule, each.by), []).append(each)
    found = [_reason(parts, policy, crm) for parts in grouped.values()]
    return sorted(found, key=lambda reason: (-reason.number, reason.code, reason.rule))


def _reason(parts: Sequence[RefusedFacts], policy: ChecksPolicy, crm: str) -> Reason:
    first = parts[0]
    by_kind: dict[str, int] = {}
    for part in parts:
        by_kind[part.kind] = by_kind.get(part.kind, 0) + part.number
    meaning, remedy = meaning_and_remedy(policy, first.code, first.rule)
    return Reason(
        first.code,
        first.rule,
        {CHECKS: "by a rule on the LMS's rows", SCHEMA: f"before sending, by {system(crm)}'s schema"}.get(
            first.by, f"by {system(crm)}"
        ),
        sum(by_kind.values()),
        listed([counted(number, kind.removesuffix("s")) for kind, number in by_kind.items()]),
        meaning,
        remedy,
        ", ".join(sorted({part.crm_code for part in parts if part.crm_code})),
    )


def meaning_and_remedy(policy: ChecksPolicy, code: str, rule: str) -> tuple[str, str]:
    """What a code means and what to do; of a rule of the tenant's own what the contract says, if it does."""
    known = CATALOGUE.get(code)
    if known is None:  # of a newer version
        return "", "See docs/error-codes.md."
    own = next((each for each in policy.own if each.name == rule), None) if code == OWN.code else None
    return (own.meaning if own else "") or known.meaning, (own.remedy if own else "") or known.remedy
