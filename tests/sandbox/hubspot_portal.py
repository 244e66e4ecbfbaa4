"""Calls of a HubSpot simulator over real HTTP, shared by its tests."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from hubspot import HubSpot
from hubspot.discovery.discovery_base import DiscoveryBase

CONTACTS = "/crm/v3/objects/contacts"
COURSES = "/crm/v3/objects/courses"
ENROLLMENTS = "/crm/v3/objects/lms_enrollment"
LINKS = "/crm/v4/associations/lms_enrollment/contacts"
JSON = {"Content-Type": "application/json"}


@contextmanager
def calling(address: str) -> Iterator[httpx.Client]:
    """A client with the private app's token, of an empty portal without limits."""
    with httpx.Client(base_url=address, headers={"Authorization": "Bearer pat-sandbox"}) as client:
        reset(client, requests_per_10_seconds=None, searches_per_second=None)
        yield client


@contextmanager
def vendors_client(address: str) -> Iterator[HubSpot]:
    """`hubspot-api-client`; its pools are closed at the end, which it never does itself."""
    made: list[Any] = []

    def remember(*arguments: Any) -> Any:
        made.append(DiscoveryBase._default_api_factory(*arguments))
        return made[-1]

    yield HubSpot(access_token="pat-sandbox", host=address, api_factory=remember)
    for api in made:
        api.api_client.rest_client.pool_manager.clear()


def reset(http: httpx.Client, **options: Any) -> None:
    assert http.post("/_sandbox/reset", json=options).status_code == 200


def mutate(http: httpx.Client, change: dict[str, Any]) -> dict[str, Any]:
    response = http.post("/_sandbox/mutate", json=change)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def stats(http: httpx.Client) -> dict[str, Any]:
    records: dict[str, Any] = http.get("/_sandbox/stats").json()["records"]
    return records


def upsert(key: str, id_property: str = "lms_user_id", trace: str | None = None, **properties: Any) -> dict[str, Any]:
    given = {"id": key, "idProperty": id_property, "properties": properties}
    return given if trace is None else {**given, "objectWriteTraceId": trace}


def post(http: httpx.Client, path: str, *inputs: dict[str, Any], status: int = 200, **more: Any) -> dict[str, Any]:
    response = http.post(path, json={"inputs": list(inputs), **more})
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json() if response.content else {}
    return body


def create(http: httpx.Client, path: str, **properties: str) -> str:
    response = http.post(path, json={"properties": properties})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error body, whose correlation id is checked and dropped."""
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    assert len(body.pop("correlationId")) == 36
    return body


def codes(body: dict[str, Any]) -> list[str]:
    """The codes in a `Property values were not valid` text."""
    prefix, _, listed = body["message"].partition(": ")
    assert prefix == "Property values were not valid"
    return [one["error"] for one in json.loads(listed)]


def grant(http: httpx.Client, *, version: str = "v1", **form: str) -> httpx.Response:
    credentials = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    return http.post(f"/oauth/{version}/token", data={**credentials, **form}, headers={"Authorization": ""})


def define(http: httpx.Client, kind: str, **definition: Any) -> httpx.Response:
    group = "courseinformation" if kind == "courses" else "contactinformation"
    given = {"label": definition["name"], "groupName": group, **definition}
    return http.post(f"/crm/v3/properties/{kind}", json=given)


def eventually(holds: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
