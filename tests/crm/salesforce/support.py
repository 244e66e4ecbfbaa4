"""What the tests of the Salesforce adapter share: adapters of the example tenant, the org's options, a scripted server."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract, SalesforceDestination
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.salesforce import SalesforceAdapter
from lms_crm_assets.domain import Action, CrmObject, CrmWrite
from lms_crm_assets.ops.store import OperationalStore
from tests.conftest import TENANTS, empty_store
from tests.sandbox_control import requests

TOKEN = "/services/oauth2/token"


def contract_with(**destination: Any) -> Contract:
    """The example tenant's contract with another destination."""
    contract = load_contract(TENANTS, "acme")
    assert isinstance(contract.destination, SalesforceDestination)
    changed = SalesforceDestination(**(contract.destination.model_dump() | destination))
    return contract.model_copy(update={"destination": changed})


@contextmanager
def adapter(store: OperationalStore | None = None, **destination: Any) -> Iterator[SalesforceAdapter]:
    """An adapter of the example tenant."""
    contract = contract_with(**destination)
    assert isinstance(contract.destination, SalesforceDestination)
    crm = SalesforceAdapter(contract, contract.destination, store or empty_store())
    try:
        yield crm
    finally:
        crm.close()


def spec_of(obj: CrmObject) -> ObjectSpec:
    """The example tenant's spec; only tests with a sandbox know addresses."""
    nowhere = dict.fromkeys(("ACME_LMS_URL", "ACME_CRM_URL"), "https://nowhere.example")
    return object_spec(load_contract(TENANTS, "acme", nowhere), obj)


def contact(key: str, parents: dict[str, str] | None = None, **values: str | None) -> CrmWrite:
    return CrmWrite(key, None, Action.CREATE, {"LastName": "Doe"} | values, parents or {})


def options(address: str, **changed: Any) -> None:
    """Change the org's options."""
    httpx.post(f"{address}/_sandbox/options", json=changed).raise_for_status()


def calls(address: str, route: str) -> Counter[str]:
    """Answers of a route such as `POST /services/oauth2/token`, by status."""
    found = Counter[str]()
    for each, by_status in requests(address).items():
        if each.endswith(route):
            found.update(by_status)
    return found


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Scripted:
    """A server that answers as it is told, and keeps what it received."""

    answer: Callable[[Received], Answer]
    address: str = ""
    received: list[Received] = field(default_factory=list)


@contextmanager
def scripted(answer: Callable[[Received], Answer]) -> Iterator[Scripted]:
    script = Scripted(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, self.path, headers, body)
            script.received.append(request)
            status, answered, content = script.answer(request)
            self.send_response(status)
            for name, value in (answered | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - the base class's names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
