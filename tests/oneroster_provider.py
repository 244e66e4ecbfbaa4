"""A OneRoster provider of a few rows that misbehaves as it is told, and an adapter before any provider."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from lms_crm_assets.contract.models import LmsThrottle, OneRosterSource
from lms_crm_assets.lms.oneroster import OneRosterAdapter
from tests.conftest import empty_store

ROSTERING, GRADEBOOK = "/ims/oneroster/rostering/v1p2", "/ims/oneroster/gradebook/v1p2"
PATHS = {
    f"{ROSTERING}/users": ("users", "user"),
    f"{ROSTERING}/orgs": ("orgs", "org"),
    f"{ROSTERING}/classes": ("classes", "class"),
    f"{ROSTERING}/courses": ("courses", "course"),
    f"{ROSTERING}/enrollments": ("enrollments", "enrollment"),
    f"{GRADEBOOK}/lineItems": ("lineItems", "lineItem"),
    f"{GRADEBOOK}/results": ("results", "result"),
}
Answer = tuple[int, Any, Mapping[str, str]]
Query = Mapping[str, str]


def status_info(minor: str) -> dict[str, Any]:
    """An error's body, as the standard has it."""
    field_ = {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": minor}
    return {
        "imsx_StatusInfo": {
            "imsx_codeMajor": "failure",
            "imsx_severity": "error",
            "imsx_CodeMinor": {"imsx_codeMinorField": [field_]},
        }
    }


@dataclass
class Provider:
    """Rows by the names of their collections. `answer` may answer a call before the rows do."""

    rows: dict[str, list[Any]] = field(default_factory=dict)
    answer: Callable[[str, Query], Answer | None] = lambda _path, _query: None
    item_routes: bool = True
    calls: list[tuple[str, Query]] = field(default_factory=list)

    def called(self, path: str) -> list[Query]:
        """The queries of the calls to a path."""
        return [query for called, query in self.calls if called == path]

    def respond(self, path: str, query: Query) -> Answer:
        self.calls.append((path, query))
        return self.answer(path, query) or self._rows(path, query) or (404, status_info("unknownobject"), {})

    def _rows(self, path: str, query: Query) -> Answer | None:
        if path in PATHS:
            return self._page(PATHS[path][0], self.rows.get(PATHS[path][0], []), query)
        parent, _, key = path.rpartition("/")
        if parent in PATHS:
            plural, singular = PATHS[parent]
            found = [row for row in self.rows.get(plural, []) if row["sourcedId"] == unquote(key)]
            return (200, {singular: found[0]}, {}) if found else None
        if self.item_routes and key == "results" and "/lineItems/" in path:
            item = unquote(parent.rpartition("/")[2])
            rows = [row for row in self.rows.get("results", []) if row["lineItem"]["sourcedId"] == item]
            return self._page("results", rows, query)
        return None

    def _page(self, name: str, rows: list[Any], query: Query) -> Answer:
        if "filter" in query:
            since = query["filter"].removeprefix("dateLastModified>='").removesuffix("'")
            rows = [row for row in rows if row["dateLastModified"] >= since]
        first, limit = int(query["offset"]), int(query["limit"])
        return 200, {name: rows[first : first + limit]}, {"X-Total-Count": str(len(rows))}


@contextmanager
def served(provider: Provider) -> Iterator[str]:
    """The provider's address while it is served, on a free port; tokens come from `/token`."""

    tokens = count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body go out together

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            self._send(*provider.respond(parts.path, query))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._send(200, {"access_token": f"token-{next(tokens)}", "token_type": "Bearer"}, {})

        def _send(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
            content = body if isinstance(body, bytes) else orjson.dumps(body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def adapter(address: str, **changes: Any) -> Iterator[OneRosterAdapter]:
    """The adapter for a provider at the address."""
    values = {
        "adapter": "oneroster",
        "url": address,
        "token_url": f"{address}/token",
        "client_id": "env:OR_CLIENT",
        "client_secret": "env:OR_SECRET",
    }
    found = OneRosterAdapter(OneRosterSource.model_validate({**values, **changes}), LmsThrottle(), empty_store())
    try:
        yield found
    finally:
        found.close()
