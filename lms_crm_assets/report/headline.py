"""What a report says first: whether the two sides agree, what the run did, and whether a person has to act."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from lms_crm_assets.report.facts import RunFacts
from lms_crm_assets.report.words import counted, duration, moment, sentence, system

Level = Literal["good", "look", "bad"]
WORDS: dict[Level, str] = {"good": "All is well", "look": "Worth a look", "bad": "Needs a person"}
"""What each level is called."""

_DONE = ("created", "updated", "archived")


@dataclass(frozen=True)
class Headline:
    """`title` is one sentence, `did` what the run did, `amiss` what is wrong, the gravest first, one sentence each."""

    level: Level
    title: str
    did: str
    amiss: list[str]

    @property
    def word(self) -> str:
        """The level in words."""
        return WORDS[self.level]


def headline(facts: RunFacts) -> Headline:
    """The headline of a run."""
    grave, light = list(_grave(facts)), list(_light(facts))
    level: Level = "bad" if grave else "look" if light else "good"
    return Headline(level, _title(facts), _did(facts), [*grave, *light])


def _title(facts: RunFacts) -> str:
    total, agreeing = facts.sum_of("total"), facts.sum_of("agreeing")
    sides = f"{system(facts.lms)} and {system(facts.crm)}"
    if not facts.objects:
        return "The run ended before anything was compared."
    if not total:
        return f"{sentence(system(facts.lms))} has no records yet."
    if agreeing == total:
        return sentence(f"{sides} agree on {'every one of ' if total > 1 else ''}{counted(total, 'record')}.")
    return sentence(f"{sides} agree on {agreeing:,} of {counted(total, 'record')}.")


def _did(facts: RunFacts) -> str:
    crm, changed = system(facts.crm), facts.sum_of("changed")
    wanted = facts.sum_of("create") + facts.sum_of("update") + facts.sum_of("archive")
    if changed:
        done = [f"{number:,} {word}" for word in _DONE if (number := facts.sum_of(word))]
        said = f"This run changed {counted(changed, 'record')} in {crm}: {', '.join(done)}."
        overwritten = facts.sum_of("overwritten")
        if overwritten:
            edits = "an edit that somebody" if overwritten == 1 else f"{overwritten:,} edits that others"
            said += f" It put what the LMS says in place of {edits} had made there."
        return said
    if facts.job == "plan" and wanted:
        return f"This run made a plan for {counted(wanted, 'record')} and sent nothing, as it was asked to."
    nothing = f"Nothing was changed in {crm}"
    return f"{nothing}." if wanted or facts.plan is None else f"{nothing}: there was nothing to do."


def _grave(facts: RunFacts) -> Iterator[str]:
    plan = facts.plan
    stopped = plan.breach if plan is not None and not facts.sum_of("changed") else ""
    if stopped:
        yield f"A guardrail stopped the plan: {_line(stopped, facts)}"
    # What stopped the run is its problem, too.
    yield from (f"The run failed: {_line(each, facts)}" for each in facts.problems if each != stopped)
    if plan is not None and plan.status == "withheld":
        yield f"The plan is held back: {_line(plan.withheld, facts)}"
    if facts.differing:
        yield f"{system(facts.crm)} does not hold what was written. {_line(facts.differing, facts)}"
    if (late := _late(facts)) is not None:
        yield late


def _light(facts: RunFacts) -> Iterator[str]:
    crm = system(facts.crm)
    if number := facts.sum_of("invalid") + facts.loose_invalid:
        yield f"{counted(number, 'row')} of the LMS broke a rule and {_are(number)} not sent."
    if number := facts.sum_of("withheld"):
        yield f"{counted(number, 'record')} {_are(number)} not sent, since {crm} would refuse {_them(number)}."
    if number := facts.sum_of("rejected"):
        yield f"{crm} refused {counted(number, 'record')}."
    if number := facts.sum_of("dead"):
        yield f"{counted(number, 'record')} {_are(number)} not sent any more, having been refused too often."
    if number := facts.sum_of("failed"):
        yield f"{counted(number, 'record')} could not be written yet; the next run tries {_them(number)} again."
    plan = facts.plan
    if plan is not None and plan.status == "waiting":
        yield f"The plan waits for a person: lms-crm apply --tenant {facts.tenant} {plan.plan_id}"
    elif plan is not None and plan.status == "dry_run":
        yield f"Nothing was sent: {_line(plan.withheld, facts)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _them(number: int) -> str:
    return "it" if number == 1 else "them"


def _late(facts: RunFacts) -> str | None:
    if facts.agrees or facts.agreed_before is None:
        return None
    age = facts.ended_at - facts.agreed_before
    if age <= timedelta(minutes=facts.promised_minutes):
        return None
    promised = duration(timedelta(minutes=facts.promised_minutes))
    return (
        f"{system(facts.crm)} was last brought up to date in full {duration(age)} before this run's end"
        f" ({moment(facts.agreed_before)}); promised are {promised}."
    )


def _line(text: str, facts: RunFacts) -> str:
    """A text as one sentence on one line, without the tenant's name before it."""
    line = " ".join(text.split()).removeprefix(f"{facts.tenant}: ")
    return line if line.endswith((".", "!", "?")) else f"{line}."
