"""Errors of an application leave it as problem documents, and what nobody foresaw tells nothing of what was sent."""

import asyncio
from contextlib import ExitStack

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from lms_crm_assets.receiver.limits import MOST_AT_ONCE, Limits
from lms_crm_assets.receiver.problems import Problem, documented, problem_handlers
from tests.receiver_server import assert_problem


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str


def build() -> FastAPI:
    app = FastAPI()

    @app.get("/unforeseen")
    async def unforeseen() -> None:
        raise ValueError("canary")

    @app.get("/foreseen", responses=documented(429))
    async def foreseen() -> None:
        raise Problem(429, "too fast", code="TOO_FAST", headers={"Retry-After": "3"})

    @app.post("/body/{number}")
    async def body(number: int, body: Body) -> None:
        del number, body

    problem_handlers(app)
    return app


def ask(method: str, path: str, content: bytes = b"") -> httpx.Response:
    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(build())
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, content=content, headers={"content-type": "application/json"})

    return asyncio.run(one())


def test_what_nobody_foresaw_is_500_and_tells_where_but_not_what(capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask("GET", "/unforeseen")
    assert_problem(answer, 500, "INTERNAL_ERROR")
    told = answer.text + "".join(capsys.readouterr())
    assert "ValueError" in told
    assert "test_problems.py" in told
    assert "canary" not in told


def test_a_problem_has_its_code_and_headers() -> None:
    answer = ask("GET", "/foreseen")
    assert_problem(answer, 429, "TOO_FAST")
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["cache-control"] == "no-store"


def test_wrong_values_are_named_by_pointer_and_not_quoted() -> None:
    answer = ask("POST", "/body/x", b'{"canary": "canary"}')
    assert_problem(answer, 422, "INVALID_REQUEST")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["path/number", "/name", "/canary"]
    assert_problem(ask("POST", "/body/1", b"{"), 400, "INVALID_JSON")
    assert_problem(ask("PUT", "/body/1"), 405, "METHOD_NOT_ALLOWED")
    assert_problem(ask("GET", "/nothing"), 404, "NOT_FOUND")


def test_the_document_has_problems_in_place_of_the_frameworks_errors() -> None:
    document = build().openapi()
    assert list(document["paths"]["/body/{number}"]["post"]["responses"]["422"]["content"]) == [
        "application/problem+json"
    ]
    assert set(document["components"]["schemas"]) == {"Body", "Mistake", "ProblemBody"}


def test_too_many_requests_at_once_are_told_to_come_again() -> None:
    limits = Limits(build())
    with ExitStack() as under_way:
        for _ in range(MOST_AT_ONCE):
            under_way.enter_context(limits.place())
        with pytest.raises(Problem, match="too many requests") as caught:
            under_way.enter_context(limits.place())
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")
    with limits.place():
        pass
