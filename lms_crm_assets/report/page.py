"""The page: one HTML file with its style and charts in it, that loads nothing and runs no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.report import words
from lms_crm_assets.report.facts import ObjectFacts, RunFacts
from lms_crm_assets.report.headline import headline
from lms_crm_assets.report.history import TrendPoint
from lms_crm_assets.report.limits import held_against
from lms_crm_assets.report.reasons import reasons
from lms_crm_assets.report.records import Record

_TREND = {
    "disagreeing": "Did not agree at the end",
    "changed": "Changed in the CRM",
    "refused": "Refused",
}
# From so many runs on there is a trend to see.
_LEAST_RUNS = 2


@dataclass(frozen=True)
class Part:
    """A part of an object's bar: `kind` is its class in the style sheet, `percent` its width."""

    kind: str
    label: str
    number: int
    percent: float


def page(
    facts: RunFacts, points: Sequence[TrendPoint], records: Sequence[Record], policy: ChecksPolicy, *, now: datetime
) -> str:
    """The report of a run; whatever comes from the LMS, the CRM or a contract is escaped.

    `points` are the trend up to this run, `records` some of what is refused, `now` is when the page is made.
    """
    return (
        _environment()
        .get_template("page.html")
        .render(
            facts=facts,
            headline=headline(facts),
            bars=[(each, _parts(each)) for each in facts.objects],
            reasons=reasons(facts.refused, policy, facts.crm),
            records=records,
            limits=held_against(facts),
            charts=_charts(points),
            runs=len(points),
            lag=_lag(facts),
            promised=timedelta(minutes=facts.promised_minutes),
            took=facts.ended_at - facts.began_at,
            now=now,
            style=Markup(files("lms_crm_assets.report").joinpath("page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        )
    )


def _parts(each: ObjectFacts) -> list[Part]:
    numbers = (
        ("agree", "agree", each.agreeing),
        ("wait", "wait for a later run", each.waiting),
        ("mode", "left by the contract", each.by_mode),
        ("refused", "refused", each.refused),
    )
    whole = sum(number for _, _, number in numbers)
    return [Part(kind, label, number, 100 * number / whole) for kind, label, number in numbers if number]


def _charts(points: Sequence[TrendPoint]) -> Mapping[str, Markup]:
    if len(points) < _LEAST_RUNS:
        return {}
    bars = _drawing().bars
    return {title: Markup(bars(points, figure, title)) for figure, title in _TREND.items()}  # noqa: S704 - numbers and days of ours, drawn as XML


def _drawing() -> ModuleType:
    """Loaded when there is something to draw: it takes a tenth of a second or two."""
    from lms_crm_assets.report import charts  # noqa: PLC0415

    return charts


def _lag(facts: RunFacts) -> timedelta | None:
    """How long before the run's end the CRM was last up to date in full; nothing where this run brought it there."""
    if facts.agrees:
        return timedelta()
    return facts.ended_at - facts.agreed_before if facts.agreed_before else None


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("lms_crm_assets.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        name: getattr(words, name)
        for name in ("counted", "duration", "moment", "plural", "sentence", "share", "system", "with_code")
    }
    found.filters.update(filters, number=lambda value: f"{value:,}")
    return found
