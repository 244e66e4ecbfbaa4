"""Each kind of source in a contract is served by its adapter."""

from pathlib import Path

import pytest

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.lms.canvas import CanvasAdapter
from lms_crm_assets.lms.thinkific import ThinkificAdapter
from tests.conftest import empty_store

CONTRACT = """\
version: 2
tenant: globex
source: {%s}
destination: {adapter: hubspot, url: https://crm.test, access_token: env:CRM}
objects:
  contact: {to: contacts, match_key: lms_user_id, fields: {lastname: family_name}}
"""


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("adapter: canvas, url: https://canvas.test, token: env:LMS", CanvasAdapter),
        ("adapter: thinkific, subdomain: school, api_key: env:LMS", ThinkificAdapter),
    ],
)
def test_a_source_has_its_adapter(source: str, kind: type[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMS", "secret")

    lms = lms_adapter(parse_contract(CONTRACT % source, Path("tenants/globex.yaml"), {}), empty_store())
    lms.close()

    assert isinstance(lms, kind)
