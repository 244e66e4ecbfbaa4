"""What Salesforce answers when it refuses, and the errors that carry it.

    ApiError        a whole request refused: an HTTP status and `[{"message", "errorCode"[, "fields"]}]`
    RowError        one record refused: in Collections a row's `errors[{statusCode, message, fields}]`, alone an `ApiError`
    JsonTypeError   a JSON value of the wrong type: refuses the whole request, as the real parser does before any work

Codes and texts: `facts/salesforce.md`, Errors; the REST guide, Status Codes and Error Responses. Where the public
record holds no text (marked "text unverified"), the code is right and the wording is ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

# Row codes whose single-record answer is not 400 (REST guide, Status Codes; a deleted or missing record is a 404).
_SINGLE_STATUS = {"ENTITY_IS_DELETED": 404, "NOT_FOUND": 404}


class ApiError(Exception):
    """A request that is refused as a whole."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: Sequence[str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Answered with HTTP `status`; the `fields` key is left out when None, `more` are further keys."""
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.more = more or {}

    def body(self) -> list[dict[str, Any]]:
        """The answer's JSON."""
        error: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            error["fields"] = list(self.fields)
        return [{**error, **self.more}]


class RowError(Exception):
    """A record that is refused while its neighbours go on."""

    def __init__(
        self,
        code: str,
        message: str,
        fields: Sequence[str] = (),
        *,
        duplicate_result: Mapping[str, Any] | None = None,
    ) -> None:
        """`fields` are the API names that the refusal is about; a duplicate rule adds what it found."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fields = fields
        self.duplicate_result = duplicate_result

    def body(self) -> dict[str, Any]:
        """The error as it stands in a Collections result."""
        found = {} if self.duplicate_result is None else {"duplicateResult": self.duplicate_result}
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields), **found}

    def alone(self) -> ApiError:
        """The same refusal as the answer of a single-record request."""
        if self.duplicate_result is not None:
            # Misspelt and without `fields`: recorded answers of v50 and v51. Collections: shape unverified.
            return ApiError(400, self.code, self.message, None, {"duplicateResut": self.duplicate_result})
        return ApiError(_SINGLE_STATUS.get(self.code, 400), self.code, self.message, self.fields)


class JsonTypeError(Exception):
    """A JSON value that the parser can't read as the field's type."""

    def __init__(self, kind: str, value: Any) -> None:
        """`kind` is the type that was expected, such as `double`, `boolean`, `datetime` or `string`."""
        super().__init__(f"not of type {kind}: {value!r}")
        self.kind = kind
        self.value = value

    def as_api_error(self, body: bytes) -> ApiError:
        """The refusal of the request whose body was `body`, with the value's line and column in it."""
        token, shown = _token(self.value)
        at = max(body.find(orjson.dumps(self.value)), 0)
        line = body.count(b"\n", 0, at) + 1
        column = at - body.rfind(b"\n", 0, at)
        return json_error(
            f"Cannot deserialize instance of {self.kind} from {token} value {shown} "
            f"or request may be missing a required field at [line:{line}, column:{column}]"
        )


def _token(value: Any) -> tuple[str, str]:
    """The parser's name for the JSON token (Jackson's `JsonToken`), and the value as it prints it."""
    if isinstance(value, str):
        return "VALUE_STRING", value
    if isinstance(value, dict):
        return "START_OBJECT", "{"
    if isinstance(value, list):
        return "START_ARRAY", "["
    shown = orjson.dumps(value).decode()
    kind = {int: "NUMBER_INT", float: "NUMBER_FLOAT"}.get(type(value), shown.upper())
    return f"VALUE_{kind}", shown


def json_error(message: str) -> ApiError:
    """A body that the JSON parser can't read."""
    return ApiError(400, "JSON_PARSER_ERROR", message)


def not_found(message: str = "The requested resource does not exist") -> ApiError:
    """A path, object or record that is not there."""
    return ApiError(404, "NOT_FOUND", message)


def no_such_id(value: str) -> ApiError:
    """An external-id field that is none, or a record id that is none."""
    return not_found(f"Provided external ID field does not exist or is not accessible: {value}")


def id_in_body(field: str) -> RowError:
    """An Id, or the key of an upsert by URL, that stands in the body too."""
    return RowError("INVALID_FIELD", f"The {field} field should not be specified in the sobject data.")


def no_such_column(name: str, sobject: str) -> RowError:
    """A field or relationship that the object does not have."""
    return RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject}")


def entity_is_deleted() -> RowError:
    """A record that lies in the recycle bin."""
    return RowError("ENTITY_IS_DELETED", "entity is deleted")


def session_expired() -> ApiError:
    """A token that is unknown, used up or too old."""
    return ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")
