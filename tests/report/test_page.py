"""The page of a run: what it says, that it loads nothing, and that nothing that it is given becomes markup."""

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.report.facts import CHECKS, RefusedFacts, RunFacts
from lms_crm_assets.report.history import TrendPoint
from lms_crm_assets.report.page import page
from lms_crm_assets.report.records import Record
from tests.report.facts import CONTACTS, NOW, run_facts

HOSTILE = "<img src=x onerror=alert(1)></style><script>alert('1')</script>\"'&{{ 7 * 7 }}"
TREND = [TrendPoint(NOW - timedelta(days=days), days, 10 * days, 3) for days in range(29, -1, -1)]
# What a page may be made of: nothing that loads, runs, or is sent anywhere.
TAGS = frozenset(
    {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "article", "footer"),
        *("h1", "h2", "h3", "p", "ul", "li", "dl", "dt", "dd", "div", "span", "b", "i", "code", "time"),
        *("table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "svg", "g", "rect", "path", "text"),
    }
)


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.text += " " if tag == "td" else ""

    def handle_data(self, data: str) -> None:
        self.text += data


def made(facts: RunFacts, records: list[Record] | None = None, trend: list[TrendPoint] | None = None) -> str:
    return page(facts, TREND if trend is None else trend, records or [], ChecksPolicy(), now=NOW)


def words(text: str) -> str:
    return " ".join(Elements(text).text.split())


def test_it_says_what_agrees_what_was_done_and_what_to_do() -> None:
    told = words(made(run_facts()))

    assert "Worth a look Moodle and Salesforce agree on 1,880 of 1,892 records." in told
    assert "This run changed 51 records in Salesforce: 12 created, 38 updated, 1 archived." in told
    assert "It put what the LMS says in place of 5 edits that others had made there." in told
    assert "1,880 agree 1 wait for a later run 11 refused" in told
    assert "7 The e-mail address is malformed. What to do: Correct the address in the LMS. LMS-104" in told
    assert "2 contacts · by Salesforce (INVALID_EMAIL_ADDRESS)" in told
    assert "The last 30 runs" in told
    assert "41.2 % used 41,250 of the 100,000 calls" in told
    assert "Contacts replaced 30 50 % of 1,900, or 50 records" in told


def test_where_all_agree_and_where_a_guardrail_stopped_the_plan() -> None:
    all_well = replace(CONTACTS, invalid=0, withheld=0, rejected=0, failed=0, updated=41, overwritten=0)
    breach = "acme: 1,200 of 1,900 contact records to update (63%)"
    unsent = replace(CONTACTS, created=0, updated=0, archived=0, rejected=0, failed=0)
    plan = replace(run_facts().plan, status="refused", breach=breach)  # type: ignore[type-var]  # there is one

    good = words(made(run_facts(objects=(all_well,), refused=(), agrees=True)))
    bad = words(made(run_facts(objects=(unsent,), plan=plan, problems=(breach,))))

    assert "All is well Moodle and Salesforce agree on every one of 1,883 records." in good
    assert "Nothing was refused." in good
    assert "Up to date Before this run it was so last on 26 Nov 2026, 02:04 UTC, 1 day earlier." in good
    assert "Needs a person" in bad
    assert "A guardrail stopped the plan: 1,200 of 1,900 contact records to update (63%)." in bad
    assert bad.count("1,200 of 1,900") == 1
    assert "Nothing was changed in Salesforce." in bad


def test_a_run_that_failed_before_it_compared_anything_and_the_first_of_all_have_a_page() -> None:
    facts = run_facts(objects=(), refused=(), plan=None, quota=None, agreed_before=None, problems=("no LMS answers",))

    told = words(made(facts, trend=TREND[-1:]))

    assert "The run ended before anything was compared. Nothing was changed in Salesforce." in told
    assert "The run failed: no LMS answers." in told
    assert "There is no trend yet" in told


def test_it_loads_nothing_and_what_it_is_given_becomes_no_markup() -> None:
    record = Record("LMS-104", HOSTILE, HOSTILE, HOSTILE, HOSTILE, NOW, 1)
    own_rule = RefusedFacts("LMS-299", HOSTILE, CHECKS, "learners", 1, HOSTILE)
    facts = run_facts(
        objects=(replace(CONTACTS, unsent=HOSTILE),), refused=(own_rule,), problems=(HOSTILE,), started_by=HOSTILE,
        differing=HOSTILE, lms=HOSTILE,
    )  # fmt: skip

    text = made(facts, [record])

    elements = Elements(text)
    assert {tag for tag, _ in elements.found} <= TAGS
    attributes = {name for _, found in elements.found for name in found}
    assert not attributes & {"src", "href", "xlink:href", "action", "data", "background"}
    assert [name for name in attributes if name.startswith("on")] == []
    assert elements.text.count("<script>alert('1')</script>") >= 9
    assert "{{ 7 * 7 }}" in elements.text
    assert re.findall(r"(?:https?:)?//[a-z]+\.\w+|url\(|@import", text.replace("http://www.w3.org", "")) == []
    assert len(text) < 100_000
