"""A system whose listings give their first page for ever, whatever page is asked for."""

from collections.abc import Collection
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Stuck:
    """Answers a request as the first one that differed from it in nothing but its place; `calls` counts all."""

    def __init__(self, app: ASGIApp, place: Collection[str]) -> None:
        self.calls = 0
        self._app, self._place = app, place
        self._answers: dict[_Key, list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        request = Request(scope, receive)
        body = await request.body()
        given = [*request.query_params.multi_items(), *parse_qsl(body.decode(), keep_blank_values=True)]
        key = scope["path"], tuple(sorted(pair for pair in given if pair[0] not in self._place))
        if key not in self._answers:
            self._answers[key] = answer = []

            async def again() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            async def keep(message: Message) -> None:
                answer.append(message)

            await self._app(scope, again, keep)
        for message in self._answers[key]:
            await send(message)
