"""What CRMs say when they refuse a record, as codes of ours."""

import pytest

from lms_crm_assets.checks.delivery_codes import OTHER, delivery_code
from lms_crm_assets.domain import Treatment
from lms_crm_assets.ops.treatment import _RULES, Answer, treatment


@pytest.mark.parametrize(
    ("word", "message", "code"),
    [
        ("INVALID_EMAIL_ADDRESS", "Email: invalid email address: x", "LMS-401"),
        ("INVALID_OPTION", None, "LMS-401"),
        ("DUPLICATES_DETECTED", None, "LMS-402"),
        ("CONFLICT", "Contact already exists. Existing ID: 7", "LMS-402"),
        ("REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", "LMS-403"),
        ("VALIDATION_ERROR", "Error creating CONTACT. Some required properties were not set.", "LMS-403"),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "the rule's text", "LMS-404"),
        ("READ_ONLY_VALUE", None, "LMS-405"),
        ("ENTITY_IS_DELETED", "entity is deleted", "LMS-406"),
        ("PARENT_MISSING", None, "LMS-407"),
        ("INVALID_FIELD", "Foreign key external ID: 1580 not found for field X__c in entity User", "LMS-407"),
        ("INVALID_FIELD", "more than one record found for external id field: [003]", "LMS-402"),
        ("INVALID_FIELD", "No such column 'foo' on sobject of type Bar", "LMS-413"),
        ("UNABLE_TO_LOCK_ROW", None, "LMS-408"),
        ("UNREACHABLE", None, "LMS-409"),
        ("QUOTAREACHED", None, "LMS-410"),
        ("NO_RESULT", None, "LMS-411"),
        ("DEAD_LETTER", None, "LMS-412"),
        ("FILLED_MEANWHILE", None, "LMS-414"),
        ("STORAGE_LIMIT_EXCEEDED", None, "LMS-415"),
        ("something new", None, "LMS-499"),
        (None, None, "LMS-499"),
    ],
)
def test_a_refusal_has_a_code(word: str | None, message: str | None, code: str) -> None:
    assert delivery_code(word, message).code == code


def test_every_word_that_is_treated_by_itself_has_a_code() -> None:
    treated = {word for rule in _RULES if rule.of_record is not False for word in rule.code or ()}
    # Of queries and sessions, which no record has.
    treated -= {"DAILY", "INVALID_QUERY_LOCATOR", "INVALID_SESSION_ID", "MALFORMED_QUERY"}

    assert {word for word in treated if delivery_code(word) is OTHER} == set()


@pytest.mark.parametrize("word", ["ENTITY_IS_LOCKED", "LICENSE_LIMIT_EXCEEDED", "FIELD_NOT_UPDATABLE"])
def test_what_is_no_fault_of_the_data_never_becomes_a_dead_letter(word: str) -> None:
    assert treatment("salesforce", Answer(400, word, of_record=True)) is Treatment.HOLD
