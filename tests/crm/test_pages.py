"""Links to records: as the CRM's own address bar has them, or none."""

import pytest

from lms_crm_assets.contract.destinations import HubSpotDestination, SalesforceDestination
from lms_crm_assets.crm.pages import page_of


def test_a_salesforce_record_is_found_by_object_and_id() -> None:
    org = SalesforceDestination(adapter="salesforce", url="https://acme.my.salesforce.com")
    page = page_of(org, "LMS_Course__c", "a00AA0000001")
    assert page == "https://acme.my.salesforce.com/lightning/r/LMS_Course__c/a00AA0000001/view"


@pytest.mark.parametrize(
    ("to", "page"),
    [
        ("contacts", "https://app.hubspot.com/contacts/4711/record/0-1/99"),
        ("0-410", "https://app.hubspot.com/contacts/4711/record/0-410/99"),
        ("2-123", "https://app.hubspot.com/contacts/4711/record/2-123/99"),
        ("p_lms_enrollment", None),
    ],
)
def test_a_hubspot_record_is_found_by_portal_type_and_id(to: str, page: str | None) -> None:
    assert page_of(HubSpotDestination(adapter="hubspot", portal_id=4711), to, "99") == page


def test_without_the_portal_there_is_no_link() -> None:
    assert page_of(HubSpotDestination(adapter="hubspot"), "contacts", "99") is None


def test_what_the_crm_calls_its_records_can_not_leave_the_address() -> None:
    org = SalesforceDestination(adapter="salesforce", url="https://acme.my.salesforce.com/")
    assert page_of(org, "Contact", "../x?y") == "https://acme.my.salesforce.com/lightning/r/Contact/..%2Fx%3Fy/view"
