"""What to do about an answer: the one table of all systems, and the one function that reads it (facts: reliability).

Adapters tell what they got, the table says what is done about it, and nobody else decides.
"""

import re
from dataclasses import dataclass
from typing import Literal

from lms_crm_assets.domain import Treatment

System = Literal["salesforce", "hubspot", "lms"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of a call, or of one record of it.

    `status` is the HTTP status, None when there was no answer. `code` and `message` are the system's own words.
    `of_record`: it is the result of one record of a batch. `sent`: the request had left when the connection broke.
    `readable`: the body is what the protocol says.
    """

    status: int | None = None
    code: str = ""
    message: str = ""
    of_record: bool = False
    sent: bool = True
    readable: bool = True


@dataclass(frozen=True, slots=True)
class _Rule:
    """One row: what it does not name may be anything; `text` is searched in code and message."""

    treatment: Treatment
    system: System | None = None
    status: frozenset[int] | None = None
    code: frozenset[str] | None = None
    text: str | None = None
    of_record: bool | None = None


# The CRMs' words for it; an INVALID_FIELD of Salesforce can mean a parent that is not there yet, too.
NO_SUCH_COLUMN = "No such column"
NO_SUCH_PROPERTY = "PROPERTY_DOESNT_EXIST"
NO_SUCH_OBJECT = "Unable to infer object type"

_SUCCESSES = range(200, 300)


def _any(*values: int) -> frozenset[int]:
    return frozenset(values)


def _codes(words: str) -> frozenset[str]:
    return frozenset(words.split())


_RULES = (
    # The day's calls, before the rates that have the same status.
    _Rule(Treatment.NARROW, "salesforce", _any(403), _codes("REQUEST_LIMIT_EXCEEDED"), "Concurrent"),
    _Rule(Treatment.PAUSE, "salesforce", _any(403), _codes("REQUEST_LIMIT_EXCEEDED")),
    _Rule(Treatment.PAUSE, "salesforce", code=_codes("API_LIMIT_EXCEEDED EXCEEDED_QUOTA EXCEEDEDQUOTA")),
    _Rule(Treatment.PAUSE, "hubspot", _any(429), _codes("DAILY")),
    # Canvas limits with 403 as well as with 429.
    _Rule(Treatment.SLOW_DOWN, "lms", _any(403), text="Rate Limit Exceeded"),
    _Rule(Treatment.SLOW_DOWN, status=_any(420, 429, 477), of_record=False),
    # Records whose moment was wrong.
    _Rule(
        Treatment.RESEND,
        "salesforce",
        code=_codes(
            "UNABLE_TO_LOCK_ROW SERVER_UNAVAILABLE API_TEMPORARILY_UNAVAILABLE QUERY_TIMEOUT REQUEST_RUNNING_TOO_LONG"
            " TOO_MANY_APEX_REQUESTS INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE"
        ),
    ),
    _Rule(Treatment.RESEND, "salesforce", code=_codes("REQUEST_LIMIT_EXCEEDED"), of_record=True),
    _Rule(Treatment.RESEND, "salesforce", code=_codes("ALL_OR_NONE_OPERATION_ROLLED_BACK"), of_record=True),
    _Rule(Treatment.ONCE_MORE, "salesforce", code=_codes("DUPLICATE_VALUE"), of_record=True),
    _Rule(Treatment.HOLD, "salesforce", code=_codes("INVALID_FIELD"), text="Foreign key external ID", of_record=True),
    # The org's or the portal's trouble, not the data's: it is sent again until somebody has mended that.
    _Rule(
        Treatment.HOLD,
        "salesforce",
        code=_codes(
            "STORAGE_LIMIT_EXCEEDED UNKNOWN_EXCEPTION APEX_ERROR LIMIT_EXCEEDED CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
            " INSUFFICIENT_ACCESS INSUFFICIENT_ACCESS_OR_READONLY INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"
            " INVALID_FIELD_FOR_INSERT_UPDATE FIELD_NOT_UPDATABLE LICENSE_LIMIT_EXCEEDED CANNOT_EXECUTE_FLOW_TRIGGER"
            " ENTITY_IS_LOCKED RECORD_IN_USE_BY_WORKFLOW TERRITORY_REALIGN_IN_PROGRESS"
        ),
        of_record=True,
    ),
    _Rule(Treatment.HOLD, "hubspot", code=_codes("READ_ONLY_VALUE"), of_record=True),
    # A field or an object that the contract names is gone: every record that has it is refused.
    _Rule(Treatment.STOP, "salesforce", code=_codes("INVALID_TYPE"), of_record=True),
    _Rule(Treatment.STOP, "salesforce", code=_codes("INVALID_FIELD"), text=NO_SUCH_COLUMN, of_record=True),
    _Rule(Treatment.STOP, "hubspot", code=_codes("PROPERTY_DOESNT_EXIST"), of_record=True),
    _Rule(Treatment.ONCE_MORE, "hubspot", code=_codes("CONFLICT OBJECT_ALREADY_EXISTS"), of_record=True),
    _Rule(Treatment.READ_BACK, code=_codes("NO_RESULT"), of_record=True),
    _Rule(Treatment.RETRY, "salesforce", code=_codes("UNPROCESSED"), of_record=True),
    _Rule(Treatment.RESEND, "hubspot", code=_codes("INTERNAL_ERROR RATE_LIMITS"), of_record=True),
    _Rule(Treatment.REJECT, of_record=True),
    # Calls.
    _Rule(Treatment.REFRESH, status=_any(401)),
    _Rule(Treatment.REFRESH, "salesforce", _any(403), _codes("INVALID_SESSION_ID")),
    _Rule(Treatment.PARK, status=_any(403)),
    # What is not implemented will not be the next time either.
    _Rule(Treatment.PARK, status=_any(501)),
    _Rule(Treatment.RETRY, status=_any(408, 423, 425, *range(500, 600))),
    # Names that the CRM hasn't: a smaller batch has them too.
    _Rule(Treatment.STOP, "salesforce", _any(400), _codes("INVALID_TYPE")),
    _Rule(Treatment.STOP, "salesforce", _any(400), _codes("INVALID_FIELD"), NO_SUCH_COLUMN),
    _Rule(Treatment.STOP, "hubspot", _any(400), text=f"{NO_SUCH_PROPERTY}|{NO_SUCH_OBJECT}"),
    _Rule(Treatment.PARK, "salesforce", _any(400), _codes("MALFORMED_QUERY INVALID_QUERY_LOCATOR")),
    _Rule(Treatment.BISECT, status=_any(400, 409)),
)


def treatment(system: System, answer: Answer) -> Treatment:
    """What to do about an answer that is no success; whatever nobody foresaw is for a person."""
    if answer.status is None:
        return Treatment.READ_BACK if answer.sent else Treatment.RETRY
    if answer.status in _SUCCESSES and not answer.readable:
        return Treatment.READ_BACK
    for rule in _RULES:
        if _fits(rule, system, answer):
            return rule.treatment
    return Treatment.PARK


def _fits(rule: _Rule, system: System, answer: Answer) -> bool:
    return (
        (rule.system is None or rule.system == system)
        and (rule.status is None or answer.status in rule.status)
        and (rule.code is None or answer.code in rule.code)
        and (rule.text is None or re.search(rule.text, f"{answer.code} {answer.message}") is not None)
        and (rule.of_record is None or rule.of_record == answer.of_record)
    )
