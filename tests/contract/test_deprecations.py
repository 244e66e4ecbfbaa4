"""What is deprecated: told where it is used, written anew by an upgrade, and listed in the documents."""

from pathlib import Path
from typing import Any

import pytest

from lms_crm_assets.contract.deprecations import ANNOUNCED, deprecations
from lms_crm_assets.contract.documents import DOCS
from lms_crm_assets.contract.upgrade import renewed

USED: dict[tuple[str, ...], dict[str, Any]] = {
    ("version",): {"version": 1},
    ("destination", "calls_per_10_seconds"): {"version": 2, "destination": {"calls_per_10_seconds": 5}},
}


def test_each_has_a_case_here_and_a_row_in_the_documents() -> None:
    text = Path(DOCS, "contract.md").read_text(encoding="utf-8")

    assert [each.path for each in ANNOUNCED] == list(USED)
    for each in ANNOUNCED:
        assert any(
            ".".join(each.path) in row and f"| {each.since} | {each.until} |" in row for row in text.splitlines()
        )


@pytest.mark.parametrize("path", USED)
def test_its_use_is_found_and_an_upgrade_ends_it(path: tuple[str, ...]) -> None:
    assert [each.path for each in deprecations(USED[path])] == [path]
    assert list(deprecations(renewed(USED[path]))) == []


@pytest.mark.parametrize("document", [{}, {"version": 2}, {"version": True}, {"version": "1", "destination": []}])
def test_what_is_not_deprecated_gives_no_note(document: dict[str, Any]) -> None:
    assert list(deprecations(document)) == []


def test_a_limit_joins_the_throttle_that_is_there() -> None:
    given = {
        "version": 2,
        "destination": {"adapter": "hubspot", "calls_per_10_seconds": 5},
        "throttle": {"lms": {"calls_per_second": 3}},
    }

    assert renewed(given) == {
        "version": 2,
        "destination": {"adapter": "hubspot"},
        "throttle": {"lms": {"calls_per_second": 3}, "crm": {"calls_per_10_seconds": 5}},
    }


def test_limits_that_contradict_each_other_stay_for_a_person_to_choose() -> None:
    given = {
        "version": 2,
        "destination": {"calls_per_10_seconds": 5},
        "throttle": {"crm": {"calls_per_10_seconds": 6}},
    }

    assert renewed(given) == given
