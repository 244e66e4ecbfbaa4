"""What a Moodle answer means: errors and warnings come with HTTP 200 (facts: Moodle pitfalls 1, 2 and 10)."""

import re
from typing import Any

from lms_crm_assets.errors import (
    CredentialError,
    MissingError,
    PermissionMissingError,
    ProtocolError,
    RetryableError,
)

_FORBIDDEN = {
    "nopermissions",
    "requireloginerror",
    "errorcoursecontextnotvalid",
    "cannotviewreport",
    "accessdenied",
    "errorreportaccess",
    "errorreportview",
}
_MISSING = {"invalidrecord", "invalidrecordunknown", "invaliduser", "userdeleted"}
_PASSING = {
    "dbconnectionfailed",
    "dmlreadexception",
    "dmlwriteexception",
    "dmltransactionexception",
    "ex_unabletolock",
    "locktimeout",
    "sitemaintenance",
    "upgraderunning",
}
_SHOWN = 200


class NotInServiceError(PermissionMissingError):
    """The service lacks the function, or, with `accessexception`, the token has just expired: the next answer tells."""


class RefusedError(ProtocolError):
    """Any other `errorcode`, for callers that know what it means for their function."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def raise_for_exception(answer: Any) -> None:
    """Raise what the content of an answer means; content without exception and warnings passes."""
    if not isinstance(answer, dict):
        return
    if "exception" in answer:
        raise _meaning(str(answer.get("errorcode") or ""), _said(answer))
    if answer.get("warnings"):
        # An unsupported search key returns everyone and only this warning.
        warning = answer["warnings"][0]
        code, text = warning.get("warningcode"), _plain(warning.get("message"))
        raise ProtocolError(f"Moodle warns '{code}': {text}; the answer can't be relied on")


def _meaning(code: str, said: str) -> Exception:
    match code:
        case "invalidtoken":
            return CredentialError(f"{said}; check source.token")
        case "accessexception":
            return NotInServiceError(f"{said}; the token is expired or its service lacks the function")
        case _ if code in _FORBIDDEN:
            return PermissionMissingError(f"{said}; the account of source.token lacks a permission")
        case "invalidrecord" if "external_functions" in said:
            # The table of functions: an older Moodle, or one without the plugin.
            return NotInServiceError(f"{said}; the site has no such function")
        case _ if code in _MISSING:
            return MissingError(said)
        case _ if code in _PASSING:
            return RetryableError(said)
        case _:
            return RefusedError(said, code)


def _said(answer: dict[str, Any]) -> str:
    return f"Moodle answers '{answer.get('errorcode', '')}': {_plain(answer.get('message'))}"


def _plain(text: Any) -> str:
    """One line without markup: the database's errors come as HTML paragraphs."""
    return " ".join(re.sub(r"<[^>]*>", " ", str(text or "")).split())[:_SHOWN]
