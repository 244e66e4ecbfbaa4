"""Requests and answers: JSON bodies of a strict shape, and the call an endpoint gets.

HubSpot reads bodies with Jackson: what does not fit the declared class is refused before any rule is looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from lms_crm_assets.sandbox.hubspot.errors import HubSpotError, bad_json, missing_fields, not_found, validation_error
from lms_crm_assets.sandbox.hubspot.table import now_ms
from lms_crm_assets.sandbox.hubspot.values import iso

DATED = ("2026-03", "2026-09")
Kind = Literal["string", "int", "bool", "list", "map", "texts", "strings", "any"]
Shape = Mapping[str, Kind]

_JAVA = {
    "string": "java.lang.String",
    "int": "java.lang.Integer",
    "bool": "java.lang.Boolean",
    "list": "java.util.ArrayList<java.lang.Object>",
    "map": "java.util.LinkedHashMap<java.lang.Object,java.lang.Object>",
    "strings": "java.util.ArrayList<java.lang.String>",
    "texts": "java.util.LinkedHashMap<java.lang.String,java.lang.String>",
}
_PYTHON: Mapping[str, type] = {
    "string": str,
    "int": int,
    "bool": bool,
    "list": list,
    "map": dict,
    "strings": list,
    "texts": dict,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request as an endpoint sees it; `path` holds the path parameters, `query` every value of each parameter."""

    path: Mapping[str, str]
    query: Mapping[str, list[str]]
    body: bytes

    @property
    def version(self) -> str:
        """`v3`, `2026-03` or `2026-09`."""
        return self.path.get("version", "v3")

    def names(self, parameter: str) -> list[str]:
        """A parameter that is a comma list, or repeated, or both."""
        return [name for given in self.query.get(parameter, []) for name in given.split(",") if name]

    def flag(self, parameter: str) -> bool:
        """A boolean parameter in any case (hubspot-api-client sends `False`)."""
        text = self.query.get(parameter, ["false"])[-1].lower()
        if text not in {"true", "false"}:
            raise validation_error(f"Unable to parse value for query parameter: {parameter}")
        return text == "true"

    def number(self, parameter: str, default: int, *, most: int) -> int:
        """A whole number from 1 to `most`."""
        text = self.query.get(parameter, [str(default)])[-1]
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise validation_error(
                f"Invalid value for query parameter {parameter}: {text}. It must be between 1 and {most}"
            )
        return int(text)

    def cursor(self) -> int:
        """`paging.next.after` of the page before; 0 on the first."""
        text = self.query.get("after", ["0"])[-1]
        if not text.isdecimal():
            raise validation_error("The 'after' paging cursor is invalid", {"after": [text]})
        return int(text)

    def json(self, shape: Shape, *required: str) -> dict[str, Any]:
        """The body as an object of this shape; `HubSpotError` 400 as HubSpot's mapper refuses it."""
        return self.fit(self._parsed(), shape, *required)

    def json_list(self) -> list[Any]:
        """The body as a JSON array."""
        body = self._parsed()
        if not isinstance(body, list):
            raise bad_json(1, 1, _cannot("list", body))
        return body

    def fit(self, value: object, shape: Shape, *required: str) -> dict[str, Any]:
        """A JSON value of this body as an object with these fields. A field that is null counts as absent."""
        if not isinstance(value, dict):
            raise bad_json(1, 1, _cannot("map", value))
        for name, given in value.items():
            kind = shape.get(name)
            if kind is None:
                known = ", ".join(f'"{one}"' for one in shape)
                detail = (
                    f': Unrecognized field "{name}", not marked as ignorable ({len(shape)} known properties: {known})'
                )
                raise bad_json(*self._position(name), detail)
            if given is not None and kind != "any":
                self._check_field(name, kind, given)
        missing = [name for name in required if value.get(name) is None]
        if missing:
            raise missing_fields(missing)
        return value

    def _parsed(self) -> Any:
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as exc:
            raise bad_json(exc.lineno, exc.colno, f": {exc.msg}") from exc

    def _check_field(self, name: str, kind: Kind, given: Any) -> None:
        fits = type(given) is _PYTHON[kind]
        if not fits:
            raise bad_json(*self._position(name), _cannot(kind, given))
        if kind == "texts":
            for key, text in given.items():
                if text is not None and not isinstance(text, str):
                    raise bad_json(*self._position(key), _cannot("string", text))
        elif kind == "strings":
            for text in given:
                if not isinstance(text, str):
                    raise bad_json(*self._position(name), _cannot("string", text))

    def _position(self, name: str) -> tuple[int, int]:
        """Line and column of the first such field in the body."""
        place = max(self.body.find(orjson.dumps(name)), 0)
        return self.body.count(b"\n", 0, place) + 1, place - self.body.rfind(b"\n", 0, place)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answers; content None is an empty body."""

    content: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and path of the protocol. `bucket` is the limit it counts against; `open` needs no token."""

    method: str
    path: str
    handler: Callable[[Call], Answer]
    bucket: Literal["general", "search", "associations", "open"] = "general"


def batch_answer(
    started: int, results: list[Any], errors: list[dict[str, Any]], *, status: int, with_errors: int = 207
) -> Answer:
    """`{"status": "COMPLETE", "results", "startedAt", "completedAt"}`, with `numErrors` and `errors` when there are some."""
    content: dict[str, Any] = {"status": "COMPLETE", "results": results}
    if errors:
        content |= {"numErrors": len(errors), "errors": errors}
    content |= {"startedAt": iso(started), "completedAt": iso(now_ms())}
    return Answer(content, with_errors if errors else status)


def check_batch_size(inputs: list[Any], most: int) -> None:
    """`HubSpotError` 400 for a batch of more than `most` inputs."""
    if len(inputs) > most:
        raise validation_error(
            f"The maximum number of inputs supported in a batch is {most}. Please reduce the number of items and try again"
        )


def check_version(version: str) -> None:
    """`HubSpotError` 404 for a dated path that does not exist."""
    if version not in DATED:
        raise not_found()


def failed(error: HubSpotError) -> Answer:
    """The refusal as an answer."""
    return Answer(error.body(), error.status, error.headers)


def _cannot(kind: str, value: object) -> str:
    match value:
        case None:
            given, token = "Null value", "VALUE_NULL"
        case bool():
            given, token = "Boolean value", "VALUE_TRUE" if value else "VALUE_FALSE"
        case int():
            given, token = "Integer value", "VALUE_NUMBER_INT"
        case float():
            given, token = "Floating-point value", "VALUE_NUMBER_FLOAT"
        case str():
            given, token = "String value", "VALUE_STRING"
        case list():
            given, token = "Array value", "START_ARRAY"
        case _:
            given, token = "Object value", "START_OBJECT"
    return f": Cannot deserialize value of type `{_JAVA[kind]}` from {given} (token `JsonToken.{token}`)"
