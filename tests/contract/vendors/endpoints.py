"""Where the cases run: against the sandbox, or against a live org or portal that the environment names.

    Salesforce   LIVE_SALESFORCE_URL (My Domain), LIVE_SALESFORCE_CLIENT_ID, LIVE_SALESFORCE_CLIENT_SECRET
    HubSpot      LIVE_HUBSPOT_TOKEN, and LIVE_HUBSPOT_URL for another host than HubSpot's own

A live account needs the key of the example tenants on its contacts: `LMS_User_Id__c` (External ID, Unique) in Salesforce,
`lms_user_id` (with unique values) in HubSpot. Every record that a case writes has a key with a random prefix, and is
deleted or archived at the end. What is secret is replaced before anything is shown.
"""

import base64
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from tests.contract.vendors.case_files import Request, Vendor, filled

_VERSION = 68
_SANDBOX_SALESFORCE = {
    "client_id": "sandbox-client",
    "client_secret": "sandbox-secret",
    "username": "sandbox@example.com",
    "password": "sandbox-password",
    "refresh_token": "sandbox-refresh",
}
_SANDBOX_HUBSPOT = {
    "client_id": "sandbox-client",
    "client_secret": "sandbox-secret",
    "refresh_token": "sandbox-refresh-token",
    "code": "sandbox-code",
}
_VARIABLES: Mapping[Vendor, tuple[str, ...]] = {
    "salesforce": ("LIVE_SALESFORCE_URL", "LIVE_SALESFORCE_CLIENT_ID", "LIVE_SALESFORCE_CLIENT_SECRET"),
    "hubspot": ("LIVE_HUBSPOT_TOKEN",),
}
_SECRET_KEYS = {"access_token", "refresh_token", "signature"}
KEY_PREFIX = "ct"
_KEYS = re.compile(rf"\b{KEY_PREFIX}[0-9a-f]{{10}}-\w+")


@dataclass
class Endpoint:
    """A simulator, or a live account: requests go through `send`, texts for people through `hidden`."""

    vendor: Vendor
    client: httpx.Client
    live: bool
    values: Mapping[str, Any] = field(repr=False)
    secrets: set[str] = field(repr=False)
    _sent_keys: set[str] = field(default_factory=set)

    @property
    def patience_seconds(self) -> float:
        """How long a step may ask again: vendors' search indices and bulk jobs need their time."""
        return 180 if self.live else 20

    @property
    def pause_seconds(self) -> float:
        """Between two looks, and in live runs between any two requests (HubSpot: five searches a second)."""
        return 0.3 if self.live else 0.02

    def send(self, request: Request, values: Mapping[str, Any]) -> httpx.Response:
        """Fill the names in, send it, remember the keys that were sent and the secrets that came."""
        if self.live:
            time.sleep(self.pause_seconds)
        built = self.client.build_request(
            request.method,
            filled(request.path, values),
            params=filled(request.query, values) or None,
            headers=_media(request) | filled(request.headers, values),
            **_body(request, values),
        )
        if request.anonymous:
            built.headers.pop("Authorization", None)
        self._sent_keys.update(_KEYS.findall(f"{built.url} {built.content.decode()}"))
        answer = self.client.send(built)
        self.secrets.update(_secrets(answer))
        return answer

    def hidden(self, text: str) -> str:
        """The text without anything secret."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "(hidden)")
        return text

    def clean_up(self) -> None:
        """Delete or archive every contact whose key was sent; what else a case makes, its own `cleanup` removes."""
        sent = sorted(self._sent_keys)
        for keys in (sent[start : start + 100] for start in range(0, len(sent), 100)):
            if self.vendor == "salesforce":
                self._delete_contacts(keys)
            else:
                self._archive_contacts(keys)
        self._sent_keys.clear()

    def _delete_contacts(self, keys: list[str]) -> None:
        data = f"/services/data/{self.values['version']}"
        listed = ", ".join(f"'{key}'" for key in keys)
        query = f"SELECT Id FROM Contact WHERE LMS_User_Id__c IN ({listed})"
        found = self.client.get(f"{data}/query", params={"q": query}).raise_for_status().json()["records"]
        if found:
            ids = ",".join(each["Id"] for each in found)
            self.client.delete(f"{data}/composite/sobjects", params={"ids": ids}).raise_for_status()

    def _archive_contacts(self, keys: list[str]) -> None:
        base = "/crm/v3/objects/contacts/batch"
        wanted = {"idProperty": "lms_user_id", "properties": [], "inputs": [{"id": key} for key in keys]}
        found = self.client.post(f"{base}/read", json=wanted).raise_for_status().json()["results"]
        if found:
            ids = {"inputs": [{"id": each["id"]} for each in found]}
            self.client.post(f"{base}/archive", json=ids).raise_for_status()


def missing_credentials(vendor: Vendor, environ: Mapping[str, str]) -> str:
    """Why there is no live run, in words for the person who could give it credentials; empty when there is one."""
    missing = [name for name in _VARIABLES[vendor] if not environ.get(name)]
    return f"no live {vendor} account: {', '.join(missing)} not set" if missing else ""


def live_endpoint(vendor: Vendor, environ: Mapping[str, str]) -> Endpoint:
    """The live account that the environment names."""
    if vendor == "hubspot":
        token = environ["LIVE_HUBSPOT_TOKEN"]
        client = httpx.Client(base_url=environ.get("LIVE_HUBSPOT_URL") or "https://api.hubapi.com", timeout=60)
        client.headers["Authorization"] = f"Bearer {token}"
        return Endpoint(vendor, client, live=True, values=_common({}), secrets={token})
    credentials = {name: environ[f"LIVE_SALESFORCE_{name.upper()}"] for name in ("client_id", "client_secret")}
    client = httpx.Client(base_url=environ["LIVE_SALESFORCE_URL"], timeout=60)
    return _signed_in(Endpoint(vendor, client, live=True, values=_common(credentials), secrets=set()))


def sandbox_endpoint(vendor: Vendor, address: str, options: Mapping[str, Any]) -> Endpoint:
    """A simulator with these options."""
    client = httpx.Client(base_url=address, timeout=60)
    if options:
        client.post("/_sandbox/options", json=dict(options)).raise_for_status()
    if vendor == "hubspot":
        client.headers["Authorization"] = "Bearer pat-sandbox"
        return Endpoint(vendor, client, live=False, values=_common(_SANDBOX_HUBSPOT), secrets={"pat-sandbox"})
    return _signed_in(Endpoint(vendor, client, live=False, values=_common(_SANDBOX_SALESFORCE), secrets=set()))


def _signed_in(endpoint: Endpoint) -> Endpoint:
    """With a session; a refusal fails the test with Salesforce's own words."""
    given = {name: endpoint.values[name] for name in ("client_id", "client_secret")}
    endpoint.secrets.update({*given.values(), endpoint.values["basic"]})
    form = {"grant_type": "client_credentials", **given}
    try:
        answer = endpoint.client.post("/services/oauth2/token", data=form)
    except httpx.HTTPError as exc:
        pytest.fail(f"Salesforce can't be reached: {exc}", pytrace=False)
    if not answer.is_success:
        pytest.fail(
            endpoint.hidden(f"Salesforce refused the sign-in: {answer.status_code} {answer.text}"), pytrace=False
        )
    token = answer.json()["access_token"]
    endpoint.secrets.update(_secrets(answer))
    endpoint.client.headers["Authorization"] = f"Bearer {token}"
    return endpoint


def _common(credentials: Mapping[str, str]) -> dict[str, Any]:
    """What the cases may name in braces on this account."""
    pair = f"{credentials.get('client_id')}:{credentials.get('client_secret')}"
    return {
        **credentials,
        "basic": base64.b64encode(pair.encode()).decode(),
        "jwt": _assertion(credentials, expires_in_seconds=120),
        "expired_jwt": _assertion(credentials, expires_in_seconds=-120),
        "version": f"v{_VERSION}.0",
        "version_number": float(_VERSION),
        "now_http": format_datetime(datetime.now(UTC), usegmt=True),
    }


def _assertion(credentials: Mapping[str, str], *, expires_in_seconds: int) -> str:
    """A JWT of the right shape; only the simulator, which knows no certificate, takes its signature."""
    claims = {
        "iss": credentials.get("client_id"),
        "sub": credentials.get("username"),
        "aud": "https://login.salesforce.com",
        "exp": int(time.time()) + expires_in_seconds,
    }
    parts = (json.dumps({"alg": "RS256"}), json.dumps(claims), "no signature")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def _body(request: Request, values: Mapping[str, Any]) -> dict[str, Any]:
    if request.form is not None:
        return {"data": filled(request.form, values)}
    if request.csv is not None:
        return {"content": filled(request.csv, values).encode()}
    return {} if request.content is None else {"json": filled(request.content, values)}


def _media(request: Request) -> dict[str, str]:
    return {} if request.csv is None else {"Content-Type": "text/csv"}


def _secrets(answer: httpx.Response) -> Iterator[str]:
    """The tokens in an answer."""
    try:
        body = answer.json()
    except ValueError:
        return
    if isinstance(body, dict):
        yield from (str(body[name]) for name in _SECRET_KEYS & body.keys())
