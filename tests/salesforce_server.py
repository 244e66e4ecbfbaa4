"""What tests say to a Salesforce simulator again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import requests

NOW = 1_795_387_800.0  # 2026-11-22T22:50:00Z
DATA = "/services/data/v59.0"
FORM = {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
CONTACTS = f"{DATA}/composite/sobjects/Contact/LMS_User_Id__c"
ENROLLMENTS = f"{DATA}/composite/sobjects/LMS_Enrollment__c/LMS_Enrollment_Id__c"


class Clock:
    """A clock that only tests move."""

    now = NOW

    def __call__(self) -> float:
        return self.now


class LoopbackSession(requests.Session):
    """Sends what is meant for a Salesforce host to the simulator."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return super().request(method, self._base_url + parts.path + query, *args, **kwargs)


@contextmanager
def signed_in(base_url: str, **options: Any) -> Iterator[httpx.Client]:
    """A client with a session, on an org that is empty."""
    with httpx.Client(base_url=base_url, timeout=120) as client:
        assert client.post("/_sandbox/reset", json=options).is_success
        sign_in(client)
        yield client


def sign_in(client: httpx.Client) -> None:
    token = client.post("/services/oauth2/token", data=FORM).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"


def configure(client: httpx.Client, **options: Any) -> None:
    answer = client.post("/_sandbox/options", json=options)
    assert answer.is_success, answer.text


def contact(key: str, **values: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Contact"}, "LMS_User_Id__c": key, "LastName": "Lovelace"} | values


def enrollment(key: str, learner: str, **values: Any) -> dict[str, Any]:
    parent = {"Contact__r": {"LMS_User_Id__c": learner}}
    return {"attributes": {"type": "LMS_Enrollment__c"}, "LMS_Enrollment_Id__c": key} | parent | values


def upsert(client: httpx.Client, *records: dict[str, Any], url: str = CONTACTS, **more: Any) -> Any:
    answer = client.patch(url, json={"records": records}, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def codes(results: Any) -> list[str]:
    """What became of each row of a Collections answer: the code of its refusal, or nothing."""
    return [each["errors"][0]["statusCode"] if each["errors"] else "" for each in results]


def stored(client: httpx.Client, kind: str, key: str = "LMS_User_Id__c") -> dict[str, dict[str, Any]]:
    """The records as the org holds them, by a field."""
    return {each[key]: each for each in client.get(f"/_sandbox/records/{kind}").json()["records"]}
