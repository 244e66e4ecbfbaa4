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
FULL = Code(
    "LMS-415",
    "crm_full",
    "The CRM has no room or no licence left for the record.",
    "Free storage, or buy licences; the next run sends it.",
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
    FULL, OTHER,
)  # fmt: skip
"""In the order of their numbers."""

# Salesforce: Object Reference, "Status Codes". HubSpot: "Error handling", the codes of property validation (its changelog of
# July 2023) and what its own clients meet. Codes of our own beside them: `sync.sending` names a record's failure after
# the error that it met.
_WORDS: Mapping[Code, str] = {
    VALUE: "INVALID_EMAIL_ADDRESS STRING_TOO_LONG INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST NUMBER_OUTSIDE_VALID_RANGE"
    " INVALID_TYPE_ON_FIELD_IN_RECORD JSON_PARSER_ERROR MALFORMED_ID FIELD_INTEGRITY_EXCEPTION TOO_MANY_ENUM_VALUE"
    " TEXT_DATA_OUTSIDE_SUPPORTED_CHARSET INVALID_CURRENCY_ISO INVALID_ID_FIELD INVALID_OPTION INVALID_INTEGER INVALID_LONG"
    " INVALID_EMAIL INVALID_DATE INVALID_BOOLEAN INVALID_NUMBER INVALID_ALPHA VALUE_TOO_LONG LEADING_TRAILING_WHITESPACE"
    " VALIDATION_ERROR",
    TWICE: "DUPLICATE_VALUE DUPLICATES_DETECTED DUPLICATE_EXTERNAL_ID DUPLICATE_USERNAME CONFLICT CONFLICTING_UNIQUE_VALUE"
    " OBJECT_ALREADY_EXISTS CONTACT_EXISTS",
    EMPTY: "REQUIRED_FIELD_MISSING REQUIRED_PROPERTY_MISSING MISSING_REQUIRED_PROPERTY MISSING_ARGUMENT",
    RULE: "FIELD_CUSTOM_VALIDATION_EXCEPTION FIELD_FILTER_VALIDATION_EXCEPTION CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    " CANNOT_EXECUTE_FLOW_TRIGGER FLOW_EXCEPTION APEX_ERROR CUSTOM_APEX_ERROR SELF_REFERENCE_FROM_TRIGGER",
    NO_RIGHT: "INSUFFICIENT_ACCESS_OR_READONLY INSUFFICIENT_ACCESS INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"
    " INVALID_FIELD_FOR_INSERT_UPDATE CANNOT_UPDATE_CONVERTED_LEAD FIELD_NOT_UPDATABLE APEX_DATA_ACCESS_RESTRICTION"
    " TRANSFER_REQUIRES_READ INACTIVE_OWNER_OR_USER UNAVAILABLE_RECORDTYPE_EXCEPTION PACKAGE_LICENSE_REQUIRED"
    " READ_ONLY_VALUE MISSING_SCOPES PERMISSIONMISSING CREDENTIAL TOKENREFUSED SESSIONENDED",
    UNKNOWN_TARGET: "ENTITY_IS_DELETED ENTITY_IS_ARCHIVED NOT_FOUND INVALID_CROSS_REFERENCE_KEY OBJECT_NOT_FOUND"
    " INVALID_OBJECT_IDS",
    NO_PARENT: "PARENT_MISSING",
    LOCKED: "UNABLE_TO_LOCK_ROW LOCKED ENTITY_IS_LOCKED RECORD_IN_USE_BY_WORKFLOW TERRITORY_REALIGN_IN_PROGRESS",
    UNANSWERED: "UNREACHABLE OUTCOMEUNKNOWN UNREADABLE RETRYABLE OUTAGE SERVER_UNAVAILABLE API_TEMPORARILY_UNAVAILABLE"
    " QUERY_TIMEOUT REQUEST_RUNNING_TOO_LONG INTERNAL_ERROR UNKNOWN_EXCEPTION ALL_OR_NONE_OPERATION_ROLLED_BACK"
    " INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
    LIMITED: "RATELIMITED QUOTAREACHED TOOMANYATONCE PAUSED REQUEST_LIMIT_EXCEEDED RATE_LIMITS API_LIMIT_EXCEEDED"
    " EXCEEDED_QUOTA EXCEEDEDQUOTA TOO_MANY_APEX_REQUESTS",
    UNTOLD: "NO_RESULT UNPROCESSED",
    DEAD: "DEAD_LETTER",
    FILLED: "FILLED_MEANWHILE",
    FULL: "STORAGE_LIMIT_EXCEEDED LICENSE_LIMIT_EXCEEDED LIMIT_EXCEEDED",
    SCHEMA: "INVALID_FIELD INVALID_TYPE PROPERTY_DOESNT_EXIST SCHEMACHANGED",
}
_CODES = {word: code for code, words in _WORDS.items() for word in words.split()}

# Words that mean something else with a certain text: a parent that Salesforce doesn't find, a key that several records have,
# a value that HubSpot misses.
_WITH_TEXT: tuple[tuple[str, str, Code], ...] = (
    ("INVALID_FIELD", "foreign key external id", NO_PARENT),
    ("INVALID_FIELD", "more than one record found", TWICE),
    ("VALIDATION_ERROR", "required properties were not set", EMPTY),
)

TELLING = "|".join(text for _, text, _ in _WITH_TEXT)
"""A regular expression of what is telling in a message, in lower case."""


def delivery_code(word: str | None, message: str | None = None) -> Code:
    """Our code for the word by which a CRM, or the delivery itself, says why a record was not taken."""
    spelled, said = (word or "").upper(), (message or "").lower()
    for known, text, code in _WITH_TEXT:
        if spelled == known and text in said:
            return code
    return _CODES.get(spelled, OTHER)
