"""What the objects and fields of an integration are usually called in each CRM, for a proposal to begin with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lms_crm_assets.domain import CrmObject


@dataclass(frozen=True, slots=True)
class Usual:
    """One object's names: `fields` maps canonical column → CRM field, `relations` parent → how a child names it."""

    to: str
    match_key: str
    fields: Mapping[str, str]
    relations: Mapping[CrmObject, str] = field(default_factory=dict)


_SALESFORCE_PARENTS = {CrmObject.CONTACT: "Contact__r", CrmObject.COURSE: "Course__r"}
_HUBSPOT_PARENTS = {CrmObject.CONTACT: "default", CrmObject.COURSE: "default"}

USUAL: Mapping[str, Mapping[CrmObject, Usual]] = {
    "salesforce": {
        CrmObject.CONTACT: Usual(
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
        CrmObject.COURSE: Usual(
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
        CrmObject.ENROLLMENT: Usual(
            "LMS_Enrollment__c",
            "LMS_Enrollment_Id__c",
            {
                "role": "Role__c",
                "status": "Status__c",
                "enrolled_at": "Enrolled_At__c",
                "starts_at": "Starts_At__c",
                "ends_at": "Ends_At__c",
            },
            _SALESFORCE_PARENTS,
        ),
        CrmObject.COMPLETION: Usual(
            "LMS_Completion__c",
            "LMS_Completion_Id__c",
            {
                "state": "State__c",
                "progress_pct": "Progress__c",
                "completed_at": "Completed_At__c",
                "score": "Score__c",
            },
            _SALESFORCE_PARENTS,
        ),
        CrmObject.COMPETENCY: Usual(
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
            _SALESFORCE_PARENTS,
        ),
    },
    "hubspot": {
        CrmObject.CONTACT: Usual(
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
        CrmObject.COURSE: Usual(
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
        CrmObject.ENROLLMENT: Usual(
            "p_lms_enrollment",
            "lms_enrollment_id",
            {
                "role": "lms_role",
                "status": "lms_status",
                "enrolled_at": "lms_enrolled_at",
                "starts_at": "lms_starts_at",
                "ends_at": "lms_ends_at",
            },
            _HUBSPOT_PARENTS,
        ),
        CrmObject.COMPLETION: Usual(
            "p_lms_completion",
            "lms_completion_id",
            {
                "state": "lms_state",
                "progress_pct": "lms_progress",
                "completed_at": "lms_completed_at",
                "score": "lms_score",
            },
            _HUBSPOT_PARENTS,
        ),
        CrmObject.COMPETENCY: Usual(
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
            _HUBSPOT_PARENTS,
        ),
    },
}

NOT_GIVEN: Mapping[str, frozenset[CrmObject]] = {
    # The standard has no completions; the API has no competencies.
    "oneroster": frozenset({CrmObject.COMPLETION}),
    "thinkific": frozenset({CrmObject.COMPETENCY}),
}
"""The objects that an LMS gives nothing for."""
