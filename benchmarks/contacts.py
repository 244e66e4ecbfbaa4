"""Contacts in a simulated CRM, made, asked for and watched from the other side: what the delivery benchmarks deliver.

Nothing here is the product's: records are made over the CRM's own protocol, and calls, refusals and results are read from
the sandbox.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from lms_crm_assets.demo.sandbox_process import Sandbox

LATENCY_SECONDS = 0.3
_LIFTED: dict[str, dict[str, Any]] = {"hubspot": {"requests_per_10_seconds": None}, "salesforce": {}}
_AS_THE_REAL_ONE: dict[str, dict[str, Any]] = {"hubspot": {"requests_per_10_seconds": 190}, "salesforce": {}}
_NUMBER_FROM = len("lrn-")


@dataclass(frozen=True)
class Contacts:
    """The contacts of one simulated CRM, and how it spells them; `tenant` is the example contract's."""

    system: str
    tenant: str
    address: str
    kind: str
    key: str
    email: str
    fields: tuple[str, str, str]
    batch_size: int

    def values(self, number: int, word: str) -> dict[str, str]:
        """The fields of one contact; with another `word` each of them has another value."""
        return dict(zip(self.fields, (f"{word} {number}", f"{word} Learner", f"{word} {number % 97}"), strict=True))

    def hold(self, numbers: range, word: str, at_once: int = 1) -> float:
        """Write the values of that word straight into the CRM, in full batches; gives the calls a second."""
        batches = list(_batched(numbers, self.batch_size))
        with httpx.Client(base_url=self.address, headers=self._headers(), timeout=60) as http:
            started = time.monotonic()
            with ThreadPoolExecutor(at_once) as pool:
                for answer in pool.map(lambda batch: self._write(http, batch, word), batches):
                    answer.raise_for_status()
            return len(batches) / (time.monotonic() - started)

    def held(self, numbers: range, word: str) -> int:
        """How many of these contacts hold all values of that word, by the CRM's own records."""
        answer = httpx.get(f"{self.address}/_sandbox/records/{self.kind}", timeout=300).raise_for_status().json()
        found = [row.get("properties", row) for row in answer["records"]]
        return sum(
            (number := int(row[self.key][_NUMBER_FROM:])) in numbers
            and {name: row.get(name) for name in self.fields} == self.values(number, word)
            for row in found
            if row.get(self.key)
        )

    def be_quick(self) -> None:
        """No latency and no limit from now on, to make records."""
        self._options(latency_seconds=0, **_LIFTED[self.system])

    def be_real(self) -> None:
        """The latency and the limits of the real system from now on, whose window is empty."""
        self._options(latency_seconds=LATENCY_SECONDS, **_AS_THE_REAL_ONE[self.system])
        rest()

    def log(self, after: int = 0) -> list[dict[str, Any]]:
        """The calls that the CRM saw since that one, in the order of their arrival."""
        answer = httpx.get(f"{self.address}/_sandbox/log", params={"after": after}, timeout=60).raise_for_status()
        calls: list[dict[str, Any]] = answer.json()["calls"]
        return calls

    def last_call(self) -> int:
        """The number of the newest call."""
        answer = httpx.get(f"{self.address}/_sandbox/log", params={"after": 10**12}, timeout=60).raise_for_status()
        return int(answer.json()["last"])

    def _options(self, **options: Any) -> None:
        httpx.post(f"{self.address}/_sandbox/options", json=options, timeout=60).raise_for_status()

    def _headers(self) -> dict[str, str]:
        if self.system == "hubspot":
            return {"Authorization": "Bearer pat-sandbox"}
        form = {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
        answer = httpx.post(f"{self.address}/services/oauth2/token", data=form, timeout=60).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def _write(self, http: httpx.Client, numbers: Sequence[int], word: str) -> httpx.Response:
        rows = [{self.key: key(number), self.email: email(number), **self.values(number, word)} for number in numbers]
        if self.system == "hubspot":
            inputs = [{"id": row[self.key], "idProperty": self.key, "properties": row} for row in rows]
            return http.post("/crm/v3/objects/contacts/batch/upsert", json={"inputs": inputs})
        records = [{"attributes": {"type": "Contact"}, **row} for row in rows]
        path = f"/services/data/v68.0/composite/sobjects/Contact/{self.key}"
        return http.patch(path, json={"allOrNone": False, "records": records})


def rest() -> None:
    """Let a window of ten seconds run out, ours of 10.2 too."""
    time.sleep(10.5)


def key(number: int) -> str:
    """The match key of a contact."""
    return f"lrn-{number:07}"


def email(number: int) -> str:
    """Its address, which some tools match by."""
    return f"learner{number}@example.org"


def in_hubspot(sandbox: Sandbox) -> Contacts:
    """The portal that globex' contract is for."""
    fields = ("firstname", "lastname", "lms_organization")
    return Contacts("hubspot", "globex", sandbox.hubspot, "contacts", "lms_user_id", "email", fields, 100)


def in_salesforce(sandbox: Sandbox) -> Contacts:
    """The org that acme's contract is for."""
    fields = ("FirstName", "LastName", "LMS_Organization__c")
    return Contacts("salesforce", "acme", sandbox.salesforce, "Contact", "LMS_User_Id__c", "Email", fields, 200)


def _batched(numbers: range, size: int) -> Iterator[range]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
