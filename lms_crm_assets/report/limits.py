"""What a plan was held against: the contract's guardrails beside the plan's own figures."""

from collections.abc import Iterator
from dataclasses import dataclass

from lms_crm_assets.report.facts import RunFacts
from lms_crm_assets.report.words import counted, plural, sentence, share


@dataclass(frozen=True)
class HeldAgainst:
    """One limit: what it limits, the plan's figure and the most that is allowed, in words; `used` is the share of it."""

    what: str
    planned: str
    allowed: str
    used: float

    @property
    def is_passed(self) -> bool:
        """Whether the plan goes beyond it."""
        return self.used > 1


def held_against(facts: RunFacts) -> list[HeldAgainst]:
    """The limits of a run that made a plan; none of one that did not come so far."""
    return list(_of_objects(facts)) if facts.plan is not None else []


def _of_objects(facts: RunFacts) -> Iterator[HeldAgainst]:
    limits = facts.limits
    for each in facts.objects:
        for what, number, most, most_share in (
            ("replaced", each.replaced, limits.max_updates, limits.max_update_share),
            ("archived", each.archive, limits.max_archives, limits.max_archive_share),
        ):
            allowed, of = [], []
            if each.live:
                # Up to the floor the shares don't count.
                allowed.append(f"{share(most_share, 1)} of {each.live:,}, or {counted(limits.floor, 'record')}")
                of.append(number / max(limits.floor, most_share * each.live, 1e-9))
            if most is not None:
                allowed.append(f"{most:,} at most")
                of.append(number / most if most else float(number > 0) * 2)
            if allowed:
                yield HeldAgainst(f"{sentence(plural(each.name))} {what}", f"{number:,}", "; ".join(allowed), max(of))
