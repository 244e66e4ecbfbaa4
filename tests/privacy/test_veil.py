"""What commands print of a learner's raw row tells which row it is, not who they are."""

from pathlib import Path

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.veil import veiled_story

CONTRACT = """\
version: 2
tenant: acme
source: {adapter: changes, url: "https://lms.example", token: env:LMS_TOKEN}
destination: {adapter: hubspot, access_token: env:CRM_TOKEN}
objects:
  contact: {to: contacts, match_key: lms_user_id, fields: {email: email}}
"""


def test_an_id_by_which_people_log_in_is_masked() -> None:
    payload = {
        "id": 7,
        "sourcedId": "u7",
        "course_id": "c1",
        "login_id": "jane.doe",
        "sis_user_id": "S-4711",
        "externalId": "E-4711",
        "enrollments": [{"user_id": "7", "user": {"sis_login_id": "jane.doe"}}],
    }
    contract = parse_contract(CONTRACT, Path("acme.yaml"), {})

    shown = veiled_story({"raw": {"payload": payload}, "records": []}, contract)["raw"]["payload"]

    assert "jane.doe" not in str(shown)
    assert "4711" not in str(shown)
    assert (shown["id"], shown["sourcedId"], shown["course_id"]) == (7, "u7", "c1")
    assert shown["enrollments"][0]["user_id"] == "7"
