"""What a HubSpot portal and a Salesforce org call us with."""

from typing import Any

import pytest

from lms_crm_assets.hints import Hints
from tests.hints.tenant import HUBSPOT, SALESFORCE, from_crm, records

SHORT = "0035g00000AbCdE"
LONG = "0035g00000AbCdEAAV"


def event(kind: str, **members: Any) -> dict[str, Any]:
    told = {
        "eventId": 1,
        "subscriptionId": 2,
        "portalId": 3,
        "appId": 4,
        "occurredAt": 1795474606000,
        "attemptNumber": 0,
    }
    return {**told, "subscriptionType": kind, "changeSource": "CRM_UI", **members}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (event("contact.creation", objectId=123), Hints(crm=records(contact="123"))),
        (event("contact.deletion", objectId=123), Hints(crm=records(contact="123"))),
        (event("contact.privacyDeletion", objectId=123), Hints(crm=records(contact="123"))),
        (event("contact.propertyChange", objectId=123, propertyName="lastname", propertyValue="X"), Hints(crm=records(contact="123"))),
        (event("contact.propertyChange", objectId=123, changeSource="INTEGRATION"), Hints(crm=records(contact="123"))),
        (event("object.propertyChange", objectId=123, objectTypeId="0-1"), Hints(crm=records(contact="123"))),
        (event("object.creation", objectId="9", objectTypeId="0-410"), Hints(crm=records(course="9"))),
        (event("object.creation", objectId=9, objectTypeId="2-3453"), Hints(crm=records(enrollment="9"))),
        (event("contact.merge", primaryObjectId=1, mergedObjectIds=[2, 3], newObjectId=4), Hints(crm=records(contact="1 2 3 4"))),
        (event("contact.associationChange", fromObjectId=1, toObjectId=2, associationType="CONTACT_TO_COURSE"), Hints(crm=records(contact="1", course="2"))),
        (event("object.associationChange", fromObjectId=1, toObjectId=2, fromObjectTypeId="2-3453", toObjectTypeId="0-1"), Hints(crm=records(enrollment="1", contact="2"))),
        (event("contact.associationChange", fromObjectId=1, toObjectId=2, associationType="CONTACT_TO_DEAL"), Hints(crm=records(contact="1"))),
        (event("deal.creation", objectId=1), Hints(unknown=("LMS-501 deal.creation",))),
        (event("conversation.newMessage", objectId=1), Hints(unknown=("LMS-501 conversation.newMessage",))),
        (event("contact.creation", objectId=None), Hints(unknown=("LMS-503 contact.creation",))),
        ({"objectId": 1}, Hints(unknown=("LMS-502 hubspot",))),
    ],
)  # fmt: skip
def test_hubspot(told: Any, expected: Hints) -> None:
    assert from_crm(HUBSPOT, [told]) == from_crm(HUBSPOT, told) == expected


def test_hubspot_s_batch_is_its_events() -> None:
    batch = [event("contact.creation", objectId=n % 50) for n in range(100)]

    assert from_crm(HUBSPOT, batch) == Hints(crm=records(contact=" ".join(map(str, range(1, 50)))), unknown=("LMS-503 contact.creation",))  # fmt: skip
    assert from_crm(HUBSPOT, []) == Hints()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"object": "Contact", "ids": [SHORT]}, Hints(crm=records(contact=LONG))),
        ({"object": "contact", "ids": [LONG, SHORT]}, Hints(crm=records(contact=LONG))),
        ({"object": "Contact", "ids": SHORT}, Hints(crm=records(contact=LONG))),
        ({"object": "Contact", "ids": []}, Hints()),
        ([{"object": "Contact", "ids": [SHORT]}, {"object": "Course__c", "ids": ["a015g00000AbCdE"]}], Hints(crm=records(contact=LONG, course="a015g00000AbCdEAAV"))),
        ({"object": "Lead", "ids": [SHORT]}, Hints(unknown=("LMS-501 Lead",))),
        ({"object": "Contact", "ids": ["003"]}, Hints(unknown=("LMS-502 Contact without a usable id",))),
        ({"object": "Contact", "ids": [LONG.lower()]}, Hints(unknown=("LMS-502 Contact without a usable id",))),
        ({"object": "Contact"}, Hints(unknown=("LMS-502 salesforce",))),
    ],
)  # fmt: skip
def test_a_flow_s_callout(told: Any, expected: Hints) -> None:
    assert from_crm(SALESFORCE, told) == expected


def outbound(*found: tuple[str, str], before: str = "") -> bytes:
    told = "".join(
        f'<Notification><Id>04l5g000000AbCdAAK</Id><sObject xsi:type="sf:{kind}" xmlns:sf="urn:sobject.enterprise.soap.'
        f'sforce.com"><sf:Id>{record}</sf:Id><sf:LastName>O&amp;Neill</sf:LastName></sObject></Notification>'
        for kind, record in found
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}\n<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/'
        'envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>00D5g000000AbCdEAA'
        '</OrganizationId><ActionId>04k5g000000AbCdEAA</ActionId><SessionId xsi:nil="true"/><EnterpriseUrl>https://acme.'
        f"test</EnterpriseUrl><PartnerUrl>https://acme.test</PartnerUrl>{told}</notifications></soapenv:Body>"
        "</soapenv:Envelope>"
    ).encode()


def test_an_outbound_message() -> None:
    body = outbound(
        ("Contact", LONG), ("Contact", SHORT), ("Course__c", "a015g00000AbCdEAAV"), ("Lead", "00Q5g00000AbCdE")
    )

    found = from_crm(SALESFORCE, body, "text/xml; charset=utf-8")

    assert found == Hints(crm=records(contact=LONG, course="a015g00000AbCdEAAV"), unknown=("LMS-501 Lead",))
    assert from_crm(SALESFORCE, b"\xef\xbb\xbf" + body, "text/xml") == found


BOMB = "<!DOCTYPE x [" + "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9)) + "]>"


@pytest.mark.parametrize(
    "body",
    [
        outbound(("Contact", SHORT), before='<!DOCTYPE x SYSTEM "file:///etc/passwd">'),
        outbound(("Contact", SHORT), before='<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
        outbound(("Contact", "&e9;"), before=BOMB),
        outbound(("Contact", SHORT))[:-20],
        outbound(("Contact", SHORT)).replace(b"UTF-8", b"UTF-16") + b"<",
        outbound(("Contact", "0" * 100_000)),
        outbound(),
        b"<a>" * 80_000,
        b"<html><body>login</body></html>",
        b"<\xff\xfe",
    ],
)
def test_a_message_that_is_none_of_salesforce_s_is_refused(body: bytes) -> None:
    assert from_crm(SALESFORCE, body, "text/xml") == Hints(unknown=("LMS-502 soap",))


def test_hubspot_sends_no_xml() -> None:
    assert from_crm(HUBSPOT, outbound(("Contact", SHORT)), "text/xml").unknown == ("LMS-502 json",)
