"""`python -m tests.report.picture` makes the picture of a report in the documents, in headless Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.report.facts import ObjectFacts
from lms_crm_assets.report.history import TrendPoint
from lms_crm_assets.report.page import page
from lms_crm_assets.report.records import Record
from tests.report.facts import CONTACTS, NOW, run_facts

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "report.png"
CHROMIUM = Path("/usr/bin/chromium")
WIDTH, HEIGHT = 1000, 1560

_OBJECTS = (
    CONTACTS,
    ObjectFacts("course", agreed=64, live=64),
    ObjectFacts("enrollment", agreed=4105, create=55, update=12, created=55, updated=12, live=4150, replaced=12),
    ObjectFacts("completion", agreed=2210, update=80, updated=80, live=2290, replaced=80, by_mode=4),
)
_TREND = [
    TrendPoint(NOW - timedelta(days=29 - day), 12 + day * 7 % 11, 40 + day * 37 % 160, 9 + day * 5 % 4)
    for day in range(30)
]
_RECORDS = [
    Record("LMS-104", "learner", "1041", "email", "j… (14 characters)", NOW - timedelta(days=3), None),
    Record("LMS-302", "contact", "1187", "MailingCountryCode", "Atlantis", NOW - timedelta(days=1), 2),
]


def example() -> str:
    """The page of a run with something of everything in it."""
    return page(run_facts(objects=_OBJECTS), _TREND, _RECORDS, ChecksPolicy(), now=NOW)


@contextmanager
def opened(text: str) -> Iterator[Page]:
    """A page opened from memory, in a browser that may not reach anything."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            tab = chromium.new_context(offline=True, viewport={"width": WIDTH, "height": HEIGHT}).new_page()
            tab.set_content(text)
            yield tab
        finally:
            chromium.close()


def main() -> None:
    """Make the picture."""
    with opened(example()) as tab:
        tab.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
