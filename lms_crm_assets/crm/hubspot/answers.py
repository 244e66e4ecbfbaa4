"""Error answers and per-record errors: what `ops.treatment` says about them, as exceptions and outcomes.

HubSpot documentation, "Error handling". A message may quote learner data: it goes into outcomes, never into an
exception's text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from lms_crm_assets.crm.absent import absent_in
from lms_crm_assets.crm.hubspot.auth import refusal
from lms_crm_assets.domain import Outcome, OutcomeStatus, Treatment
from lms_crm_assets.errors import (
    BatchRefusedError,
    CredentialError,
    OutcomeUnknownError,
    PermissionMissingError,
    ProtocolError,
    QuotaReachedError,
    RateLimitedError,
    RetryableError,
    SchemaChangedError,
    UnreachableError,
)
from lms_crm_assets.ops.retry_after import retry_after_seconds
from lms_crm_assets.ops.treatment import Answer, treatment

_LOCKED, _LOCKED_SECONDS = 423, 2.0
_FORBIDDEN = 403
_OK = 200
_NO_RESULT = "NO_RESULT"
# An error without any of HubSpot's words.
_UNKNOWN = "UNKNOWN"


class TokenRefusedError(CredentialError):
    """This call's token was refused; a fresh one may do."""


class UnreadableError(OutcomeUnknownError):
    """A success that is not HubSpot's: HTML, an empty body, another JSON."""


def failure(
    status: int, headers: Mapping[str, str], content: str | bytes, *, url: str, keys: str, is_batch: bool
) -> Exception:
    """What an error answer means to us; `is_batch`: smaller batches can tell which record is to blame."""
    body = _body(content)
    code = _code(body)
    message = str(body.get("message") or "")
    said = f"HubSpot at {url} answers {status} {code}"
    wait = retry_after_seconds(headers)
    what = treatment("hubspot", Answer(status, code, message))
    match what:
        case Treatment.PAUSE:
            return QuotaReachedError(f"{said}: the day's calls are used up, what is pending is sent by the next run")
        case Treatment.SLOW_DOWN | Treatment.NARROW:
            return RateLimitedError(said, retry_after_seconds=wait)
        case Treatment.RETRY:
            if status == _LOCKED:
                wait = max(wait or 0.0, _LOCKED_SECONDS)
            return RetryableError(said, retry_after_seconds=wait)
        case Treatment.READ_BACK:
            return OutcomeUnknownError(said)
        case Treatment.REFRESH:
            return TokenRefusedError(str(refusal(url, keys)))
        case Treatment.STOP if is_batch:
            return SchemaChangedError(f"{said}, {absent_in(message) or 'there is no such object'}")
        case Treatment.BISECT if is_batch:
            return BatchRefusedError(said, code=_inner(message) or code, detail=message)
    if status == _FORBIDDEN:
        scopes = _scopes(body)
        return PermissionMissingError(f"{said}; {_granting(scopes)}")
    return ProtocolError(f"{said}, which HubSpot does not say: check destination.url" if code == _UNKNOWN else said)


def broken(url: str, cause: Exception, *, sent: bool) -> RetryableError:
    """What no answer means to us; the cause's text may hold the request."""
    if treatment("hubspot", Answer(sent=sent)) is Treatment.READ_BACK:
        return OutcomeUnknownError(f"HubSpot at {url} broke off ({type(cause).__name__})")
    return UnreachableError(f"HubSpot at {url} can't be reached ({type(cause).__name__})")


def unreadable(url: str) -> UnreadableError:
    """A success without the content that the protocol promises."""
    return UnreadableError(f"HubSpot at {url} answered with something that is not its own")


def unwritten(external_id: str, crm_id: str | None, error: Mapping[str, Any] | None) -> Outcome:
    """The outcome of a record or link that is in the errors, or (None) nowhere."""
    message = "no result was given" if error is None else str(error.get("message") or "")
    # A validation error says in its text which one it is.
    code = _NO_RESULT if error is None else _inner(message) or _code(error)
    what = treatment("hubspot", Answer(_OK, code, message, of_record=True))
    status = OutcomeStatus.REJECTED if what is Treatment.REJECT else OutcomeStatus.FAILED
    return Outcome(external_id, status, crm_id, code, message, what)


def expect_only(errors: Iterable[Mapping[str, Any]], code: str, url: str) -> None:
    """`RetryableError` when a read lists errors of another kind: what it left out is then not known to be missing."""
    if others := {_code(error) for error in errors} - {code}:
        raise RetryableError(f"HubSpot at {url} read only a part of what was asked for ({', '.join(sorted(others))})")


def listed(answer: Any, name: str) -> Sequence[Mapping[str, Any]]:
    """A list of an answer, empty where it has none."""
    found = answer.get(name) if isinstance(answer, Mapping) else None
    return found if isinstance(found, list) else []


def _inner(message: str) -> str | None:
    """The code of a property's validation, which stands as JSON in the message of the whole."""
    found = re.search(r'"error":"([A-Z_]{1,60})"', message)
    return found[1] if found else None


def _body(content: str | bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _code(body: Mapping[str, Any]) -> str:
    """HubSpot's own word for the error; the policy's name where a limit is meant."""
    for name in ("policyName", "category", "errorType", "subCategory"):
        if isinstance(word := body.get(name), str) and re.fullmatch(r"[A-Za-z0-9_.]{1,80}", word):
            return word
    return _UNKNOWN


def _scopes(body: Mapping[str, Any]) -> list[str]:
    found: set[str] = set()
    for error in listed(body, "errors"):
        context = error.get("context") if isinstance(error, Mapping) else None
        for names in (context or {}).values():
            found |= {name for name in names if re.fullmatch(r"[a-z0-9._-]{1,60}", str(name))}
    return sorted(found)


def _granting(scopes: Sequence[str]) -> str:
    if scopes:
        return f"grant the app or service key the scope {' or '.join(scopes)}"
    return "check the scopes of the app or service key"
