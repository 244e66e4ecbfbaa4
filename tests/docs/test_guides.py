"""What the guides say of the code and of each other is so."""

import re
from pathlib import Path
from typing import Any

import pytest

from lms_crm_assets.contract.models import HubSpotDestination, SalesforceDestination
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.domain import OutcomeStatus, Owner
from lms_crm_assets.lms.protocol import LmsAdapter

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "lms_crm_assets"


def text(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def members(protocol: type[Any]) -> set[str]:
    return {name for name in (*vars(protocol), *protocol.__annotations__) if not name.startswith("_")}


@pytest.mark.parametrize(("protocol", "part"), [(LmsAdapter, "An LMS"), (CrmAdapter, "A CRM")])
def test_the_guide_to_adapters_names_each_member_of_the_protocol(protocol: type[Any], part: str) -> None:
    said = text("adding-an-adapter").split(f"\n## {part}\n")[1].split("\n## ")[0]
    rows = "".join(re.findall(r"^\| (`.+?`) \| ", said, re.MULTILINE))

    # What is counted for the figures needs no explanation.
    assert members(protocol) - set(re.findall(r"`(\w+)", rows)) <= {"traffic"}


@pytest.mark.parametrize("name", ["adding-an-adapter", "architecture"])
def test_each_file_that_a_guide_names_is_there(name: str) -> None:
    named = re.findall(r"`((?:[\w.]+/)+[\w.]*|[\w]+\.(?:py|yaml|toml))`", text(name))

    assert named
    assert [each for each in named if not (PACKAGE / each).exists() and not (ROOT / each).exists()] == []


def test_each_package_has_its_place_in_the_architecture() -> None:
    parts = {each.name for each in PACKAGE.iterdir() if (each / "__init__.py").exists()}
    named = set(re.findall(r"`(\w+)`", text("architecture").split("## The parts")[1].split("\n## ")[0]))

    assert parts - named == set()


def test_the_scopes_of_hubspot_are_those_of_least_privilege() -> None:
    of_both = [
        set(re.findall(r"`(crm\.[a-z.]+)`", part))
        for part in (text("hubspot"), text("least-privilege").split("## HubSpot")[1].split("\n## ")[0])
    ]

    assert of_both[0] == of_both[1]


@pytest.mark.parametrize(
    ("guide", "destination", "names"),
    [
        ("salesforce", SalesforceDestination, ("batch_size", "concurrency", "bulk_from", "bulk_query_from")),
        ("hubspot", HubSpotDestination, ("batch_size",)),
    ],
)
def test_the_limits_in_a_guide_are_the_defaults(guide: str, destination: type[Any], names: tuple[str, ...]) -> None:
    for name in names:
        assert re.search(rf"`(?:destination\.)?{name}` \({destination.model_fields[name].default:,}\)", text(guide)), (
            name
        )


def test_the_concepts_name_each_owner_and_outcome() -> None:
    for word in (*Owner, *OutcomeStatus):
        assert f"`{word}`" in text("concepts"), word


def test_the_page_of_the_published_copy_says_of_each_view_what_its_comment_says() -> None:
    said = re.findall(r"^\| `(\w+)` \| (.+) \|$", text("published-copy"), re.MULTILINE)
    views = (PACKAGE / "warehouse" / "published.sql").read_text(encoding="utf-8")
    comments = re.findall(r"^COMMENT ON VIEW (\w+) IS '(.+)';$", views, re.MULTILINE)

    assert len(comments) == views.count("CREATE VIEW")
    assert said == [(name, comment.replace("''", "'")) for name, comment in comments]
