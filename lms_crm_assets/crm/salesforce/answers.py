"""What an answer of Salesforce means: for a call the error that says what to do, for a record its outcome.

`ops.treatment` decides, this file only translates.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import requests
from simple_salesforce.exceptions import SalesforceError
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.domain import CrmWrite, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.errors import (
    BatchRefusedError,
    CredentialError,
    FatalError,
    LmsCrmError,
    OutcomeUnknownError,
    PermissionMissingError,
    ProtocolError,
    QuotaReachedError,
    RateLimitedError,
    RetryableError,
    SchemaChangedError,
    TooManyAtOnceError,
    UnreachableError,
)
from lms_crm_assets.ops.treatment import Answer, treatment

# What a record's refusal has as its status where it is told alone (REST guide, Status Codes).
_REFUSED = requests.codes.bad_request
# Their texts name fields and objects of the contract, never a learner's data.
_ABOUT_NAMES = frozenset({"INVALID_FIELD", "INVALID_TYPE", "MALFORMED_QUERY", "INVALIDJOB"})
_CODE = re.compile(r"[A-Za-z_]{1,80}", re.ASCII)

NO_RESULT = "NO_RESULT"
"""Our own code of a record of which an answer says nothing."""
UNPROCESSED = "UNPROCESSED"
"""Our own code of a record that a bulk job has not come to."""


class SessionEndedError(CredentialError):
    """The session is refused; a fresh one may pass."""


class UnreadableError(Exception):
    """An answer of success whose body is not what the protocol says."""


def error_of(
    exc: Exception, url: str, spec: ObjectSpec | None, *, of_batch: bool, retry_after_seconds: float | None
) -> LmsCrmError:
    """The error that a call's exception means; `of_batch`: smaller batches may tell which record is to blame."""
    if isinstance(exc, UnreadableError | requests.exceptions.InvalidJSONError):
        return OutcomeUnknownError(f"Salesforce at {url} answers with something else than it says it does")
    if isinstance(exc, requests.RequestException):
        return broken_off(exc, url)
    if not isinstance(exc, SalesforceError):
        raise exc
    code, message = _code_and_message(exc.content)
    # The message may quote learner data; only those about names in the contract are safe to show.
    said = f"Salesforce at {url} answers {exc.status} {code}"
    match treatment("salesforce", Answer(exc.status, code, message)):
        case Treatment.SLOW_DOWN:
            return RateLimitedError(said, retry_after_seconds=retry_after_seconds)
        case Treatment.NARROW:
            return TooManyAtOnceError(said, retry_after_seconds=retry_after_seconds)
        case Treatment.PAUSE:
            return QuotaReachedError(f"{said}; the day's quota is used up, what is pending is sent by the next run")
        case Treatment.REFRESH:
            return SessionEndedError(f"{said}; a fresh session is refused as well: check the integration user")
        case Treatment.RETRY | Treatment.RESEND:
            return RetryableError(said, retry_after_seconds=retry_after_seconds)
        case Treatment.READ_BACK:
            return OutcomeUnknownError(said)
        case Treatment.STOP if spec:
            return SchemaChangedError(f"{said}, {message}", spec.object)
        case Treatment.BISECT if of_batch:
            return BatchRefusedError(said, code=code, detail=message)
        case _:
            return _for_a_person(exc.status, code, message, said, spec)


def broken_off(exc: requests.RequestException, url: str) -> LmsCrmError:
    """What a call without an answer means; the cause is not kept, it may hold what was sent."""
    sent = not any(isinstance(each, NewConnectionError | ConnectTimeoutError) for each in _causes(exc))
    if treatment("salesforce", Answer(None, sent=sent)) is Treatment.READ_BACK:
        return OutcomeUnknownError(f"Salesforce at {url} broke off or did not answer in time ({type(exc).__name__})")
    return UnreachableError(f"Salesforce at {url} can't be reached ({type(exc).__name__})")


def outcomes_of(writes: Sequence[CrmWrite], results: Any) -> list[Outcome]:
    """The outcomes of a Collections call, in order; `UnreadableError` when there isn't one result a record."""
    if not isinstance(results, list) or len(results) != len(writes):
        raise UnreadableError
    return [_outcome(write, result) for write, result in zip(writes, results, strict=True)]


def refused(write: CrmWrite, code: str, message: str | None) -> Outcome:
    """The outcome of a record that was not taken."""
    what = treatment("salesforce", Answer(_REFUSED, code, message or "", of_record=True))
    status = OutcomeStatus.REJECTED if what is Treatment.REJECT else OutcomeStatus.FAILED
    return Outcome(write.external_id, status, write.crm_id, code, message, what)


def _outcome(write: CrmWrite, result: Any) -> Outcome:
    match result:
        case {"success": True}:
            return Outcome(write.external_id, OutcomeStatus.SUCCEEDED, result.get("id") or write.crm_id)
        case {"success": False, "errors": [{"statusCode": str(code), **told}, *_]}:
            return refused(write, code, str(told.get("message", "")))
        case {"success": False}:
            return refused(write, "UNKNOWN", None)
    raise UnreadableError


def _for_a_person(status: int, code: str, message: str, said: str, spec: ObjectSpec | None) -> LmsCrmError:
    if status == requests.codes.forbidden:
        return PermissionMissingError(f"{said}; check the integration user's permissions")
    if status == requests.codes.not_found and spec:
        return FatalError(f"{said}; check objects.{spec.object}.to and its match_key")
    if code in _ABOUT_NAMES and spec:
        return FatalError(f"{said}: {message}; objects.{spec.object} names something that this org doesn't have")
    if code == "UNKNOWN":
        return ProtocolError(f"{said}: it does not answer as Salesforce, check destination.url and its api_version")
    return ProtocolError(said)


def _causes(exc: BaseException) -> Iterator[object]:
    """What lies beneath an exception of requests: urllib3's, which holds its reason."""
    waiting: list[object] = [exc]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, requests.RequestException | HTTPError):
            waiting += [*each.args, getattr(each, "reason", None)]


def _code_and_message(content: Any) -> tuple[str, str]:
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return "UNKNOWN", "no JSON"
    code = str(first.get("errorCode", ""))
    # A query's error quotes the query; what is wrong stands in its last line.
    lines = str(first.get("message", "")).strip().splitlines()
    return code if _CODE.fullmatch(code) else "UNKNOWN", lines[-1] if lines else ""
