"""Contracts for these tests, and what a body touches by them."""

import json
from pathlib import Path
from typing import Any

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.domain import CrmObject, LmsEntity
from lms_crm_assets.hints import Hints, touched

RECORDINGS = Path(__file__).parent / "recordings"

MOODLE = {"adapter": "moodle", "url": "https://moodle.test", "token": "env:SECRET"}
BY_REPORT = {**MOODLE, "reports": {"participants": 1, "users": 2, "competencies": 3}}
CANVAS = {"adapter": "canvas", "url": "https://canvas.test", "token": "env:SECRET"}
THINKIFIC = {"adapter": "thinkific", "subdomain": "acme", "api_key": "env:SECRET"}
CHANGES = {"adapter": "changes", "url": "https://lms.test", "token": "env:SECRET"}
ONEROSTER = {
    "adapter": "oneroster",
    "url": "https://roster.test",
    "token_url": "https://roster.test/token",
    "client_id": "env:SECRET",
    "client_secret": "env:SECRET",
}
SOURCES: dict[str, dict[str, Any]] = {
    "moodle": MOODLE,
    "moodle by report": BY_REPORT,
    "canvas": CANVAS,
    "thinkific": THINKIFIC,
    "changes": CHANGES,
    "oneroster": ONEROSTER,
}
HUBSPOT = {"adapter": "hubspot", "access_token": "env:SECRET"}
SALESFORCE = {
    "adapter": "salesforce",
    "url": "https://acme.my.salesforce.test",
    "client_id": "env:SECRET",
    "client_secret": "env:SECRET",
}
_OBJECTS = {
    "hubspot": {"contact": "contacts", "course": "0-410", "enrollment": "p_lms_enrollment"},
    "salesforce": {"contact": "Contact", "course": "Course__c", "enrollment": "Enrollment__c"},
}
_FIELDS = {"contact": {"lastname": "family_name"}, "course": {"title": "title"}, "enrollment": {"status": "status"}}


def contract(source: dict[str, Any] = CHANGES, destination: dict[str, Any] = HUBSPOT) -> Contract:
    """A contract between the two."""
    objects = {
        name: {"to": to, "match_key": "lms_id", "fields": _FIELDS[name]}
        for name, to in _OBJECTS[destination["adapter"]].items()
    }
    document = {"version": 2, "tenant": "acme", "source": source, "destination": destination, "objects": objects}
    return parse_contract(json.dumps(document), Path("tenants/acme.yaml"), {"SECRET": "secret-value"})


def from_lms(source: dict[str, Any], body: Any, content_type: str = "application/json") -> Hints:
    """What a body of the LMS touches; JSON of it unless it is bytes."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return touched(contract(source), "lms", content_type, sent)


def from_crm(destination: dict[str, Any], body: Any, content_type: str = "application/json") -> Hints:
    """What a body of the CRM touches."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return touched(contract(destination=destination), "crm", content_type, sent)


def keys(**by_entity: str) -> frozenset[tuple[LmsEntity, str]]:
    """Keys by entity, with spaces between them."""
    return frozenset((LmsEntity(entity), key) for entity, some in by_entity.items() for key in some.split())


def records(**by_object: str) -> frozenset[tuple[CrmObject, str]]:
    """CRM ids by object, with spaces between them."""
    return frozenset((CrmObject(obj), key) for obj, some in by_object.items() for key in some.split())
