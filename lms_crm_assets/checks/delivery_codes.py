"""The error codes 4xx: why the CRM did not take a record after all, whatever that CRM's own word for it is."""

from collections.abc import Mapping

from lms_crm_assets.checks.codes import Code

VALUE = Code(
    "LMS-401",
    "crm_value",
    "The CRM refused a value of the record.",
    "Read the CRM's message (lms-crm explain), and correct the value in the LMS or its mapping in the contract.",
)
TWICE = Code(
    "LMS-402",
    "crm_duplicate",
    "The CRM holds another record that counts as the same, by a unique field or a duplicate rule.",
    "Merge the two in the CRM or give ours to it by its match key, or loosen the CRM's duplicate rule.",
)
EMPTY = Code(
    "LMS-403",
    "crm_missing_value",
    "The CRM wants a value in a field that its schema did not tell as required.",
    "Map the field, or give it a constant in the contract.",
)
RULE = Code(
    "LMS-404",
    "crm_rule",
    "A validation rule, trigger or flow of the CRM refused the record.",
    "Read the rule's text (lms-crm explain), and loosen the rule for the integration's user or mend the data.",
)
NO_RIGHT = Code(
    "LMS-405",
    "crm_access",
    "The integration's user may not write this record or one of its fields.",
    "Give the user the right in the CRM.",
)
UNKNOWN_TARGET = Code(
    "LMS-406",
    "crm_target",
    "The record, or the one that it is linked to, is not in the CRM any more.",
    "Nothing: the next full reconciliation makes it anew. If it stays, see who deletes it.",
)
NO_PARENT = Code(
    "LMS-407",
    "crm_parent_missing",
    "The record hangs on another one that the CRM has not taken.",
    "Mend the other record; this one follows by itself.",
)
LOCKED = Code(
    "LMS-408",
    "crm_locked",
    "Others held the record, or its parent, whenever it was sent.",
    "Nothing: the next run sends it. If it stays, see which automation of the CRM holds it.",
)
UNANSWERED = Code(
    "LMS-409",
    "crm_unanswered",
    "The CRM did not answer, or not in time, and the tries are used up.",
    "Nothing: the next run sends it.",
)
LIMITED = Code(
    "LMS-410",
    "crm_limit",
    "The CRM's limit of calls is reached.",
    "Nothing: the next run sends it. If it comes again, lower guardrails.quota_share or throttle.crm.",
)
UNTOLD = Code(
    "LMS-411",
    "crm_untold",
    "The CRM answered, but nothing about this record.",
    "Nothing: the next run compares and sends it. If it stays, try the record alone.",
)
DEAD = Code(
    "LMS-412",
    "dead_letter",
    "The record was refused too often and is not sent any more.",
    "Mend what it was refused for; then its values change and it is sent, or use lms-crm dead-letters replay.",
)
SCHEMA = Code(
    "LMS-413",
    "crm_schema",
    "The CRM doesn't know a field, property or object that the contract names.",
    "Mend the contract or the CRM: lms-crm tenants validate says what differs.",
)
FILLED = Code(
    "LMS-414",
    "crm_filled_meanwhile",
    "Somebody filled a field in the CRM, which we only fill while it is empty, after the plan was made.",
    "Nothing: the next run leaves that field to them.",
)
OTHER = Code(
    "LMS-499",
    "crm_other",
    "The CRM refused the record for a reason that has no code of ours.",
    "Read the CRM's own code and message (lms-crm explain).",
)

DELIVERY_CODES: tuple[Code, ...] = (
    VALUE, TWICE, EMPTY, RULE, NO_RIGHT, UNKNOWN_TARGET, NO_PARENT, LOCKED, UNANSWERED, LIMITED, UNTOLD, DEAD, SCHEMA, FILLED,
    OTHER,
)  # fmt: skip
"""In the order of their numbers."""

_WORDS: Mapping[Code, tuple[str, ...]] = {
    # Salesforce: Object Reference, "Status Codes". HubSpot: "Error handling", and the codes of property validation.
    VALUE: (
        "INVALID_EMAIL_ADDRESS", "STRING_TOO_LONG", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "NUMBER_OUTSIDE_VALID_RANGE",
        "INVALID_TYPE_ON_FIELD_IN_RECORD", "JSON_PARSER_ERROR", "MALFORMED_ID", "FIELD_INTEGRITY_EXCEPTION", "INVALIDJSON",
        "INVALID_OPTION", "INVALID_INTEGER", "INVALID_LONG", "INVALID_EMAIL", "INVALID_DATE", "INVALID_BOOLEAN",
        "INVALID_NUMBER", "VALUE_TOO_LONG", "VALIDATION_ERROR",
    ),
    TWICE: ("DUPLICATE_VALUE", "DUPLICATES_DETECTED", "DUPLICATE_EXTERNAL_ID", "CONFLICT", "CONFLICTING_UNIQUE_VALUE"),
    EMPTY: ("REQUIRED_FIELD_MISSING", "REQUIRED_PROPERTY_MISSING", "MISSING_REQUIRED_PROPERTY"),
    RULE: (
        "FIELD_CUSTOM_VALIDATION_EXCEPTION", "FIELD_FILTER_VALIDATION_EXCEPTION", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "CANNOT_EXECUTE_FLOW_TRIGGER", "FLOW_EXCEPTION",
    ),
    NO_RIGHT: (
        "INSUFFICIENT_ACCESS_OR_READONLY", "INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "INVALID_FIELD_FOR_INSERT_UPDATE", "CANNOT_UPDATE_CONVERTED_LEAD", "READ_ONLY_VALUE", "MISSING_SCOPES", "PERMISSIONMISSING",
    ),
    UNKNOWN_TARGET: (
        "ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY", "OBJECT_NOT_FOUND", "INVALID_OBJECT_IDS",
    ),
    # Codes of our own beside those of the CRMs: `sync.sending` names a record's failure after the error that it met.
    NO_PARENT: ("PARENT_MISSING",),
    LOCKED: ("UNABLE_TO_LOCK_ROW", "LOCKED"),
    UNANSWERED: ("UNREACHABLE", "OUTCOMEUNKNOWN", "RETRYABLE", "OUTAGE", "SERVER_UNAVAILABLE"),
    LIMITED: ("RATELIMITED", "QUOTAREACHED", "TOOMANYATONCE", "PAUSED", "REQUEST_LIMIT_EXCEEDED"),
    UNTOLD: ("NO_RESULT", "UNPROCESSED"),
    DEAD: ("DEAD_LETTER",),
    FILLED: ("FILLED_MEANWHILE",),
    SCHEMA: ("INVALID_FIELD", "INVALID_TYPE", "PROPERTY_DOESNT_EXIST"),
}  # fmt: skip
_CODES = {word: code for code, words in _WORDS.items() for word in words}


# Salesforce says of a parent that it doesn't find that the field is invalid.
_PARENT = "foreign key external id"


def delivery_code(word: str | None, message: str | None = None) -> Code:
    """Our code for the word by which a CRM, or the delivery itself, says why a record was not taken."""
    found = _CODES.get((word or "").upper(), OTHER)
    return NO_PARENT if found is SCHEMA and _PARENT in (message or "").lower() else found
