"""The way from each version of the format to the next."""

from pathlib import Path
from typing import Any

import pytest

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.contract.models import HubSpotDestination
from lms_crm_assets.contract.upgrade import upgrade
from lms_crm_assets.errors import ContractError

VERSION_1 = """\
version: 1
tenant: acme
source: {adapter: changes, url: "https://lms.acme.test", token: env:TOKEN}
destination:
  adapter: hubspot
  access_token: env:TOKEN
  calls_per_10_seconds: 100
objects:
  contact:
    to: contacts
    match_key: lms_user_id
    fields: {email: email, lms_score: {from: status, type: text}}
"""


def test_a_file_of_version_1_still_means_what_it_meant() -> None:
    contract = parse_contract(VERSION_1, Path("acme.yaml"), {})

    assert contract.version == 2
    assert isinstance(contract.destination, HubSpotDestination)
    assert contract.throttle.crm.calls_per_10_seconds == 100
    assert (
        contract.objects == parse_contract(VERSION_1.replace("version: 1", "version: 2"), Path("acme.yaml"), {}).objects
    )


def test_the_limit_moves_in_front_of_the_objects_and_the_given_document_stays() -> None:
    given: dict[str, Any] = {
        "version": 1,
        "destination": {"adapter": "hubspot", "calls_per_10_seconds": 5},
        "objects": {},
    }
    before = {**given, "destination": dict(given["destination"])}

    upgraded = upgrade(given)

    assert list(upgraded) == ["version", "destination", "throttle", "objects"]
    assert upgraded["destination"] == {"adapter": "hubspot"}
    assert upgraded["throttle"] == {"crm": {"calls_per_10_seconds": 5}}
    assert given == before


@pytest.mark.parametrize("document", [{"version": 2, "tenant": "a"}, {"version": 9}, {"version": True}, {}])
def test_what_is_new_or_unknown_comes_back_as_it_is(document: dict[str, Any]) -> None:
    assert upgrade(document) == document


def test_a_mistake_in_a_file_of_version_1_is_told_by_its_own_line() -> None:
    wrong = VERSION_1.replace("seconds: 100", "seconds: none").replace("email: email", "email: mail")

    with pytest.raises(ContractError) as caught:
        parse_contract(wrong, Path("acme.yaml"), {})

    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == ["acme.yaml:7", "acme.yaml:12"]
