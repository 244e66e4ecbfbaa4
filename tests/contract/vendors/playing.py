"""One case from its first step to the comparison."""

import csv
import io
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from tests.contract.vendors.case_files import Case, Expectation, Request, Step, filled
from tests.contract.vendors.endpoints import KEY_PREFIX, Endpoint
from tests.contract.vendors.matching import Difference, differences, matches, shown


class StepError(Exception):
    """A step before the case did not answer as it must: the case has shown nothing."""


def play(case: Case, endpoint: Endpoint) -> list[str]:
    """Run a case: where its answer is not the expected one, a line each."""
    values: dict[str, Any] = {**endpoint.values, "prefix": KEY_PREFIX + secrets.token_hex(5)}
    try:
        for step in case.setup:
            values |= _take(step, endpoint, values)
        answer = endpoint.send(case.request, values)
        if answer.is_success:
            values |= _kept(case.request, answer)
        found = compared(filled_expectation(case.expect, values), answer)
        # Hidden before a text is cut: half a secret would not be recognised.
        return [
            str(Difference(each.path, endpoint.hidden(each.expected), endpoint.hidden(each.came))) for each in found
        ]
    finally:
        for step in case.cleanup:
            _tidy(step, endpoint, values)


def compared(expected: Expectation, answer: httpx.Response) -> Iterator[Difference]:
    """The differences in status, headers and body."""
    if answer.status_code not in expected.status:
        allowed = " or ".join(str(each) for each in expected.status)
        yield Difference("status", allowed, f"{answer.status_code} {shown(answer.text)}")
        return
    for name, value in expected.headers.items():
        if value is None and name in answer.headers:
            yield Difference(f"headers.{name}", "no such header", shown(answer.headers[name]))
        elif value is not None:
            yield from differences(value, answer.headers.get(name, ""), f"headers.{name}")
    if expected.csv is not None:
        rows = [list(row) for row in csv.reader(io.StringIO(answer.text, newline=""))]
        yield from differences(expected.csv, rows, "csv")
    else:
        yield from differences(expected.body, _content(answer))


def filled_expectation(expected: Expectation, values: Mapping[str, Any]) -> Expectation:
    """The expectation with its names in braces replaced."""
    changes = {name: filled(getattr(expected, name), values) for name in ("headers", "body", "csv")}
    return expected.model_copy(update=changes)


def _take(step: Step, endpoint: Endpoint, values: Mapping[str, Any]) -> dict[str, Any]:
    """Send a step, again and again when it waits for something; what it keeps of the answer."""
    give_up_at = time.monotonic() + endpoint.patience_seconds
    until = filled(step.until, values)
    while True:
        answer = endpoint.send(step, values)
        if not (answer.status_code in step.status if step.status else answer.is_success):
            text = f"{step.method} {step.path} answered {answer.status_code}: {answer.text}"
            raise StepError(endpoint.hidden(text))
        if until is None or matches(until, _content(answer)):
            return _kept(step, answer)
        if time.monotonic() > give_up_at:
            text = f"{step.method} {step.path} never answered {shown(until)}, last: {answer.text}"
            raise StepError(endpoint.hidden(text))
        time.sleep(endpoint.pause_seconds)


def _tidy(step: Step, endpoint: Endpoint, values: Mapping[str, Any]) -> None:
    """A step of the cleanup; one that needs what an earlier step never got to keep has nothing to remove."""
    try:
        endpoint.send(step, values)
    except KeyError:
        return


def _kept(request: Request, answer: httpx.Response) -> dict[str, Any]:
    return {name: _found(_content(answer), path) for name, path in request.keep.items()}


def _content(answer: httpx.Response) -> Any:
    if not answer.content:
        return None
    return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text


def _found(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document
