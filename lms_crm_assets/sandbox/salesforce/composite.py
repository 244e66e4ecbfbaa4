"""Several requests in one (REST guide, Composite): at most 25, each may use what an earlier one answered."""

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from .errors import ApiError, JsonTypeError
from .http import Call, Reply
from .org import Org

MAX_SUBREQUESTS = 25
Dispatch = Callable[[str, str, Mapping[str, str], Mapping[str, str], bytes], Reply]

_REFERENCE = re.compile(r"@\{([^{}]+)\}")
_STEP = re.compile(r"[^.\[\]]+")


def run(org: Org, call: Call, dispatch: Dispatch) -> Reply:
    """`POST composite`: 200 with one inner answer a subrequest, whatever became of them."""
    body = call.json_object()
    requests = body.get("compositeRequest")
    if not isinstance(requests, list):
        raise JsonTypeError("list", requests)
    if len(requests) > MAX_SUBREQUESTS:
        message = f"Limit of {MAX_SUBREQUESTS} reached for number of subrequests allowed in a single composite request."
        raise ApiError(400, "LIMIT_EXCEEDED", message)  # text unverified
    all_or_none = body.get("allOrNone", False) is True
    answers: dict[str, Any] = {}
    inner: list[dict[str, Any]] = []
    counted = copy.deepcopy(org.stats.records)
    with org.store.transaction() as rollback:
        for request in requests:
            reference = _checked(request, answers)
            reply = _answer(request, answers, call.headers, dispatch)
            answers[reference] = reply.content
            inner.append(_inner(reply, reference))
            if all_or_none and reply.status >= 400:  # noqa: PLR2004 - HTTP's border between done and refused
                rollback()
                org.stats.records = counted
                inner = _halted(requests, inner)
                break
    return Reply(content={"compositeResponse": inner})


def _checked(request: Any, answers: Mapping[str, Any]) -> str:
    """The subrequest's reference id; `ApiError` when its shape is wrong (texts unverified)."""
    if not isinstance(request, dict):
        raise JsonTypeError("CompositeSubrequest", request)
    for name in ("method", "url", "referenceId"):
        if not isinstance(request.get(name), str):
            raise ApiError(400, "INVALID_INPUT", f"Provide {name} for each subrequest")
    if not isinstance(request.get("httpHeaders", {}), dict):
        raise JsonTypeError("map", request["httpHeaders"])
    if request["referenceId"] in answers:
        raise ApiError(400, "INVALID_INPUT", f"Duplicate ReferenceId provided: {request['referenceId']}")
    return str(request["referenceId"])


def _answer(
    request: Mapping[str, Any], answers: Mapping[str, Any], headers: Mapping[str, str], dispatch: Dispatch
) -> Reply:
    try:
        path, _, query = str(_resolved(request["url"], answers)).partition("?")
        body = orjson.dumps(_resolved(request["body"], answers)) if "body" in request else b""
        own = {name.lower(): str(value) for name, value in request.get("httpHeaders", {}).items()}
        inherited = {name: headers[name] for name in ("sforce-query-options",) if name in headers}
        if "/jobs/" in path:  # text unverified
            error = ApiError(400, "INVALID_INPUT", f"The url is not supported in a composite request: {path}")
            return Reply(error.status, error.body())
        return dispatch(request["method"].upper(), unquote(path), dict(parse_qsl(query)), inherited | own, body)
    except ApiError as error:
        return Reply(error.status, error.body())


def _resolved(value: Any, answers: Mapping[str, Any]) -> Any:
    """A URL or body with each `@{reference.path}` replaced by what that answer holds there."""
    if isinstance(value, dict):
        return {name: _resolved(each, answers) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, answers) for each in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _looked_up(whole[1], answers)
    return _REFERENCE.sub(lambda match: str(_looked_up(match[1], answers)), value)


def _looked_up(path: str, answers: Mapping[str, Any]) -> Any:
    found: Any = answers
    for step in _STEP.findall(path):
        try:
            found = found[int(step)] if isinstance(found, list) else found[step]
        except (KeyError, IndexError, TypeError, ValueError):
            reference = path.partition(".")[0]
            message = f"Invalid reference specified. No value for {path} found in {reference}"
            raise ApiError(400, "PROCESSING_HALTED", message) from None
    return found


def _inner(reply: Reply, reference: str) -> dict[str, Any]:
    return {
        "body": reply.content,
        "httpHeaders": dict(reply.headers),
        "httpStatusCode": reply.status,
        "referenceId": reference,
    }


def _halted(requests: list[Any], inner: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers of an all-or-none request whose last one so far failed: that one stays, all others were undone."""
    message = "The transaction was rolled back since another operation in the same transaction failed."
    halted = Reply(400, ApiError(400, "PROCESSING_HALTED", message).body())
    failed = inner[-1]
    answers = [_inner(halted, str(each.get("referenceId")) if isinstance(each, dict) else "") for each in requests]
    answers[len(inner) - 1] = failed
    return answers
