"""What the CRMs hold under our match keys, and the mapping of both tenants as `tenants/*.yaml` states it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lms_crm_assets.demo.proof_school import Row, records


@dataclass(frozen=True)
class CrmObject:
    """One object of a CRM: its name there, its match key, its fields by canonical name, and its links.

    `links` says what holds the link to the contact and to the course: a lookup field of Salesforce, the associated
    object of HubSpot. `scales` are digits after the point of the numbers.
    """

    name: str
    match_key: str
    fields: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """A record of ours in a CRM: its match key, its values as the CRM shows them, the match keys it is linked to."""

    key: str
    fields: Mapping[str, Any]
    links: Mapping[str, Sequence[str]]


_LOOKUPS = {"contact": "Contact__c", "course": "Course__c"}

SALESFORCE = {
    "contact": CrmObject(
        "Contact",
        "LMS_User_Id__c",
        {
            "given_name": "FirstName",
            "family_name": "LastName",
            "email": "Email",
            "username": "LMS_Username__c",
            "organization": "LMS_Organization__c",
            "country": "LMS_Country__c",
            "status": "LMS_Status__c",
        },
    ),
    "course": CrmObject(
        "LMS_Course__c",
        "LMS_Course_Id__c",
        {
            "title": "Name",
            "code": "Code__c",
            "visible": "Visible__c",
            "starts_at": "Starts_At__c",
            "ends_at": "Ends_At__c",
        },
    ),
    "enrollment": CrmObject(
        "LMS_Enrollment__c",
        "LMS_Enrollment_Id__c",
        {
            "role": "Role__c",
            "status": "Status__c",
            "enrolled_at": "Enrolled_At__c",
            "starts_at": "Starts_At__c",
            "ends_at": "Ends_At__c",
        },
        _LOOKUPS,
    ),
    "completion": CrmObject(
        "LMS_Completion__c",
        "LMS_Completion_Id__c",
        {
            "state": "State__c",
            "progress_pct": "Progress__c",
            "completed_at": "Completed_At__c",
            "score": "Score__c",
        },
        _LOOKUPS,
        {"progress_pct": 2, "score": 5},
    ),
    "competency": CrmObject(
        "LMS_Competency__c",
        "LMS_Competency_Id__c",
        {
            "code": "Code__c",
            "name": "Competency_Name__c",
            "framework": "Framework__c",
            "rating": "Rating__c",
            "proficient": "Proficient__c",
            "rated_at": "Rated_At__c",
        },
        _LOOKUPS,
    ),
}

_ASSOCIATIONS = {"contact": "contacts", "course": "courses"}

HUBSPOT = {
    "contact": CrmObject(
        "contacts",
        "lms_user_id",
        {
            "given_name": "firstname",
            "family_name": "lastname",
            "email": "email",
            "username": "lms_username",
            "organization": "lms_organization",
            "country": "lms_country",
            "status": "lms_status",
        },
    ),
    "course": CrmObject(
        "0-410",
        "lms_course_id",
        {
            "title": "hs_course_name",
            "code": "lms_course_code",
            "visible": "lms_visible",
            "starts_at": "lms_starts_at",
            "ends_at": "lms_ends_at",
        },
    ),
    "enrollment": CrmObject(
        "p_lms_enrollment",
        "lms_enrollment_id",
        {
            "role": "lms_role",
            "status": "lms_status",
            "enrolled_at": "lms_enrolled_at",
            "starts_at": "lms_starts_at",
            "ends_at": "lms_ends_at",
        },
        _ASSOCIATIONS,
    ),
    "completion": CrmObject(
        "p_lms_completion",
        "lms_completion_id",
        {
            "state": "lms_state",
            "progress_pct": "lms_progress",
            "completed_at": "lms_completed_at",
            "score": "lms_score",
        },
        _ASSOCIATIONS,
        # A HubSpot number has no scale of its own; this is the canonical model's.
        {"score": 5},
    ),
    "competency": CrmObject(
        "p_lms_competency",
        "lms_competency_id",
        {
            "code": "lms_code",
            "name": "lms_name",
            "framework": "lms_framework",
            "rating": "lms_rating",
            "proficient": "lms_proficient",
            "rated_at": "lms_rated_at",
        },
        _ASSOCIATIONS,
    ),
}


def held_in_salesforce(url: str) -> dict[str, list[Held]]:
    """The live records with a match key; a lookup's value is the record id of the parent."""
    live = {kind: [row for row in records(url, it.name) if not row["IsDeleted"]] for kind, it in SALESFORCE.items()}
    owners = {
        kind: {row["Id"]: row[SALESFORCE[kind].match_key] for row in live[kind]} for kind in ("contact", "course")
    }

    def held(it: CrmObject, row: Row) -> Held:
        links = {name: _keys([row[name]] if row[name] else [], owners[to]) for to, name in it.links.items()}
        return Held(row[it.match_key], {name: row[name] for name in it.fields.values()}, links)

    return {kind: [held(it, row) for row in live[kind] if row[it.match_key]] for kind, it in SALESFORCE.items()}


def held_in_hubspot(url: str) -> dict[str, list[Held]]:
    """The live records with a match key; a link is an association in the direction of the contact or the course."""
    live = {kind: [row for row in records(url, it.name) if not row["archived"]] for kind, it in HUBSPOT.items()}
    owners = {
        kind: {row["id"]: row["properties"].get(HUBSPOT[kind].match_key) for row in live[kind]}
        for kind in ("contact", "course")
    }

    def held(it: CrmObject, row: Row) -> Held:
        links = {name: _keys(row["associations"][name], owners[to]) for to, name in it.links.items()}
        values = row["properties"]
        return Held(values[it.match_key], {name: values.get(name) for name in it.fields.values()}, links)

    return {
        kind: [held(it, row) for row in live[kind] if row["properties"].get(it.match_key)]
        for kind, it in HUBSPOT.items()
    }


def _keys(record_ids: Sequence[str], owners: Mapping[str, str | None]) -> list[str]:
    """The match keys of linked records; a record without one is named by its record id, which is nobody's key."""
    return [owners.get(record_id) or f"record {record_id}" for record_id in record_ids]
