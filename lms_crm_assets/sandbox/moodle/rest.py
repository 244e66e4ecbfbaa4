r"""Moodle's REST protocol: nested parameters, their validation, errors and the two answer formats.

Facts: recordings of Moodle 4.5.6 (`err_*`), and `core_external\external_api::validate_parameters` for the order of
the checks. Errors are answered with HTTP 200.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

from starlette.responses import Response

from lms_crm_assets.sandbox.core import json_response

_PART = re.compile(r"\[([^\]]*)\]")
_INTEGER = re.compile(r"-?\d+")


class MoodleError(Exception):
    """What Moodle answers instead of a result: the PHP exception class, a stable code and a sentence for people."""

    def __init__(self, exception: str, errorcode: str, message: str) -> None:
        """Keep the three parts of the answer."""
        super().__init__(message)
        self.exception = exception
        self.errorcode = errorcode
        self.message = message


def moodle_exception(errorcode: str, message: str) -> MoodleError:
    r"""The general exception, `core\exception\moodle_exception`."""
    return MoodleError("core\\exception\\moodle_exception", errorcode, message)


def missing_record(table: str) -> MoodleError:
    """A row that is looked up by its id and isn't there (`err_course_not_found`, `err_unknown_function`)."""
    message = f"Can't find data record in database table {table}."
    return MoodleError("dml_missing_record_exception", "invalidrecord", message)


def invalid_parameter() -> MoodleError:
    """A missing, surplus or ill-typed parameter; which one is told only to developers (`err_extra_param`)."""
    exception = "core\\exception\\invalid_parameter_exception"
    return MoodleError(exception, "invalidparameter", "Invalid parameter value detected")


def access_exception() -> MoodleError:
    """A function outside the token's service, or an expired token (`err_function_not_in_service`)."""
    return MoodleError("webservice_access_exception", "accessexception", "Access control exception")


@dataclass(frozen=True)
class Default:
    """A parameter that may be left out, and what it is then."""

    spec: Any
    value: Any


Spec: TypeAlias = Any
"""`int`, `str`, `[spec]` for a list, `{name: spec}` for a structure, or `Default(spec, value)`."""


def decode(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The nested structure that PHP makes of `options[0][name]=limitfrom`; lists stay dictionaries with text keys."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        head, bracket, rest = name.partition("[")
        path = [head, *_PART.findall(bracket + rest)]
        node = tree
        for part in path[:-1]:
            child = node.setdefault(part or str(len(node)), {})
            node = child if isinstance(child, dict) else {}
        node[path[-1] or str(len(node))] = value
    return tree


def validate(spec: Spec, value: Any) -> Any:
    """The parameters in their declared types; `MoodleError` for a missing, surplus or ill-typed one."""
    match spec:
        case Default(spec=inner):
            return validate(inner, value)
        case dict():
            return _validate_structure(spec, value)
        case [inner]:
            if not isinstance(value, dict):
                raise invalid_parameter()
            return [validate(inner, item) for item in value.values()]
        case _ if not isinstance(value, str):
            raise invalid_parameter()
        case _ if spec is int:
            if not _INTEGER.fullmatch(value):
                raise invalid_parameter()
            return int(value)
    return value


def _validate_structure(spec: Mapping[str, Spec], value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() - spec.keys():
        raise invalid_parameter()
    found: dict[str, Any] = {}
    for name, inner in spec.items():
        if name in value:
            found[name] = validate(inner, value[name])
        elif isinstance(inner, Default):
            found[name] = inner.value
        else:
            raise invalid_parameter()
    return found


def php_int(value: Any) -> int:
    """A number out of any text, as PHP's `(int)` takes it: the leading digits, or 0."""
    found = _INTEGER.match(str(value).strip())
    return int(found[0]) if found else 0


def result_response(result: Any, *, as_json: bool) -> Response:
    """A function's result; XML when no `moodlewsrestformat=json` came."""
    if as_json:
        return json_response(result)
    return _xml_response(f"<RESPONSE>\n{_xml(result)}</RESPONSE>\n")


def error_response(error: MoodleError, *, as_json: bool) -> Response:
    """An error, with HTTP status 200 (`err_bad_token`, `err_xml_default_bad_token`)."""
    if as_json:
        return json_response(
            {"exception": error.exception, "errorcode": error.errorcode, "message": error.message},
        )
    return _xml_response(
        f'<EXCEPTION class="{escape(error.exception)}">\n<ERRORCODE>{escape(error.errorcode)}</ERRORCODE>\n'
        f"<MESSAGE>{escape(error.message)}</MESSAGE>\n</EXCEPTION>\n"
    )


def _xml_response(body: str) -> Response:
    head = '<?xml version="1.0" encoding="UTF-8" ?>\n'
    return Response(head + body, media_type="application/xml; charset=utf-8")


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        keys = "".join(f'<KEY name="{escape(str(name))}">{_xml(item)}</KEY>\n' for name, item in value.items())
        return f"<SINGLE>\n{keys}</SINGLE>\n"
    if isinstance(value, list):
        return f"<MULTIPLE>\n{''.join(_xml(item) for item in value)}</MULTIPLE>\n"
    if value is None:
        return '<VALUE null="null"/>'
    return f"<VALUE>{escape(str(int(value)) if isinstance(value, bool) else str(value))}</VALUE>\n"
