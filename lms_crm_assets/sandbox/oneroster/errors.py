"""Refusals: `imsx_StatusInfo`, as recorded for 401."""

from http import HTTPStatus

from starlette.responses import Response

from lms_crm_assets.sandbox.core import json_response


class StatusInfoError(Exception):
    """A refused request."""

    def __init__(
        self, status: HTTPStatus, code_minor: str, description: str, *, retry_after_seconds: int | None = None
    ) -> None:
        """`code_minor` is one of the standard's values, like `invalid_filter_field`."""
        super().__init__(description)
        self.status, self.code_minor, self.description = status, code_minor, description
        self._headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}

    def response(self) -> Response:
        """The answer."""
        field = {"imsx_codeMinorFieldName": "httpStatus", "imsx_codeMinorFieldValue": self.code_minor}
        info = {
            "imsx_codeMajor": "failure",
            "imsx_severity": "error",
            "imsx_description": self.description,
            "imsx_CodeMinor": {"imsx_codeMinorField": [field]},
        }
        return json_response({"imsx_StatusInfo": info}, self.status, self._headers)


def unauthorised() -> StatusInfoError:
    """No token, or one that is unknown or used up."""
    return StatusInfoError(HTTPStatus.UNAUTHORIZED, "unauthorisedrequest", "Authorization is required.")


def forbidden() -> StatusInfoError:
    """A token without the scope of the endpoint."""
    return StatusInfoError(HTTPStatus.FORBIDDEN, "forbidden", "The token lacks a scope that permits this request.")


def unknown_object(what: str) -> StatusInfoError:
    """An id, or a path, that there is not."""
    return StatusInfoError(HTTPStatus.NOT_FOUND, "unknownobject", f"There is no {what}.")


def invalid_data(description: str) -> StatusInfoError:
    """A parameter with a value it can't have."""
    return StatusInfoError(HTTPStatus.UNPROCESSABLE_ENTITY, "invaliddata", description)


def invalid_field(kind: str, description: str) -> StatusInfoError:
    """A `filter`, `sort` or `selection` that the collection doesn't have."""
    return StatusInfoError(HTTPStatus.BAD_REQUEST, f"invalid_{kind}_field", description)


def server_busy(retry_after_seconds: int) -> StatusInfoError:
    """Too many requests."""
    description = "Too many requests."
    return StatusInfoError(
        HTTPStatus.TOO_MANY_REQUESTS, "server_busy", description, retry_after_seconds=retry_after_seconds
    )
