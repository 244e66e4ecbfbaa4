"""A whole CRM adapter to begin with: upserts by match key, in batches. docs/adding-an-adapter.md says what comes beside it.

The CRM of this template serves, below `/objects/{to}`: `GET ?after=` as `{"results": [{"id", "fields"}], "after": …}`,
`GET /schema`, and `POST /upsert`, `/archive` and `/read`, each of which takes `{"inputs": […]}` and answers one result an
input, in order. A child names its parent in a field that is written as the parent's match key and read as the parent's id.
A test runs it against a small server.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

import httpx
from pydantic import Field

from lms_crm_assets.contract.credentials import SecretRef
from lms_crm_assets.contract.endpoints import Address, ContractModel
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.crm.protocol import BulkLoader, CrmAdapter, CrmRecord, Linker
from lms_crm_assets.domain import CrmWrite, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.errors import (
    BatchRefusedError,
    CredentialError,
    LmsCrmError,
    OutcomeUnknownError,
    PermissionMissingError,
    ProtocolError,
    RateLimitedError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from lms_crm_assets.ops.gate import Gate
from lms_crm_assets.ops.patience import patient
from lms_crm_assets.ops.retry_after import retry_after_seconds
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.treatment import Answer, System, treatment

# Whose rows of ops/treatment.py count. A CRM gets a name of its own there, and rows for its own words.
_SYSTEM: System = "hubspot"


class TemplateDestination(ContractModel):
    """The `destination` of a contract; it belongs into contract/destinations.py."""

    adapter: Literal["template"] = Field(description="The CRM of the template.")
    url: Address = Field(description="The API's address.")
    token: SecretRef = Field(description="A bearer token.")
    batch_size: int = Field(100, ge=1, le=100, description="Records a call.")
    concurrency: int = Field(4, ge=1, le=20, description="Calls under way at once.")
    calls_per_10_seconds: int = Field(100, ge=1, description="The CRM's limit for this app.")


class TemplateAdapter:
    """One CRM of that kind."""

    # `upsert` makes the links to parents too: they are fields.
    linker: Linker | None = None
    bulk: BulkLoader | None = None

    def __init__(self, destination: TemplateDestination, token: str, store: OperationalStore) -> None:
        self.batch_size = destination.batch_size
        self.concurrency = destination.concurrency
        self.calls_per_second = destination.calls_per_10_seconds / 10
        self._url = destination.url
        self._gate = Gate(
            store,
            destination.url,
            token,
            calls=destination.calls_per_10_seconds,
            at_once=destination.concurrency,
            watched=True,
        )
        self._client = httpx.Client(
            base_url=destination.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(120, connect=10),
            follow_redirects=False,  # the credential would go along
            trust_env=False,
        )

    @property
    def traffic(self) -> Counter[str]:
        """Calls made so far."""
        return self._gate.traffic

    def probe(self) -> None:
        """List contacts once."""
        try:
            self._call("GET", "contacts", urgent=True)
        except UnreachableError as exc:
            raise WrongAddressError(f"{exc}: check destination.url") from exc

    def discover(self, to: str, parents: Sequence[str] = (), /) -> CrmSchema | None:
        """The fields, and those of them that lead to each parent."""
        told = self._read("GET", f"{to}/schema")
        if told is None:
            return None
        fields = {each["name"]: _field(each) for each in told["fields"]}
        relations = {
            parent: frozenset(name for name, field in fields.items() if parent in field.references)
            for parent in parents
        }
        return CrmSchema(to, fields, relations)

    def snapshot(self, spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """Every record that has the match key, page by page."""
        yield from self._pages(spec, {})

    def changed_since(self, spec: ObjectSpec, since: datetime) -> Iterator[list[CrmRecord]]:
        """Those that changed at or after that moment."""
        yield from self._pages(spec, {"since": since.isoformat()})

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """One batch by match key."""
        inputs = [{"key": spec.match_key, "fields": _wire(spec, write)} for write in writes]
        return self._outcomes(writes, self._call("POST", f"{spec.to}/upsert", {"inputs": inputs}, of_batch=True))

    def archive(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """One batch by the CRM's ids, into its bin."""
        inputs = [{"id": write.crm_id} for write in writes]
        return self._outcomes(writes, self._call("POST", f"{spec.to}/archive", {"inputs": inputs}, of_batch=True))

    def read(self, spec: ObjectSpec, external_ids: Sequence[str]) -> list[CrmRecord]:
        """Records by match key; those that are missing are left out."""
        found: list[CrmRecord] = []
        for start in range(0, len(external_ids), self.batch_size):
            inputs = [{"key": spec.match_key, "value": key} for key in external_ids[start : start + self.batch_size]]
            answer = self._read("POST", f"{spec.to}/read", {"inputs": inputs})
            found += [_record(spec, row) for row in answer["results"] if row is not None]
        return found

    def quota(self) -> tuple[int, int] | None:
        """This CRM tells none."""
        return None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _pages(self, spec: ObjectSpec, query: Mapping[str, str]) -> Iterator[list[CrmRecord]]:
        asked, seen = dict(query), set[str]()
        while True:
            answer = self._read("GET", spec.to, query=asked)
            yield [_record(spec, row) for row in answer["results"] if row["fields"].get(spec.match_key)]
            after = answer.get("after")
            if after is None:
                return
            if after in seen:
                raise ProtocolError(f"{self._url} gives the same page of {spec.to} again and again")
            seen.add(after)
            asked["after"] = after

    def _outcomes(self, writes: Sequence[CrmWrite], answer: Any) -> list[Outcome]:
        """One a record; an answer that doesn't tell of each is none."""
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != len(writes):
            raise OutcomeUnknownError(f"{self._url} answers with something else than it says it does")
        return [_outcome(write, result) for write, result in zip(writes, results, strict=True)]

    def _read(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        """A call that changes nothing, made again where trouble passes; None where there is no such thing."""
        return patient(lambda: self._call(method, path, body, query))

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        *,
        urgent: bool = False,
        of_batch: bool = False,
    ) -> Any:
        """One call, within the gate; what went wrong is one of the errors of `errors`."""
        with self._gate.call(urgent=urgent):
            try:
                response = self._client.request(method, f"/objects/{path}", json=body, params=query)
            except httpx.ConnectError as exc:
                raise UnreachableError(f"{self._url} can't be reached") from exc
            except httpx.HTTPError as exc:
                # Nobody knows whether the call was carried out; its text may hold what was sent.
                raise OutcomeUnknownError(f"{self._url} broke off ({type(exc).__name__})") from None
            if response.status_code == HTTPStatus.NOT_FOUND and method == "GET":
                return None
            if not response.is_success:
                raise self._failure(response, of_batch=of_batch)
            try:
                return response.json()
            except ValueError as exc:
                raise OutcomeUnknownError(f"{self._url} answers with something that is no JSON") from exc

    def _failure(self, response: httpx.Response, *, of_batch: bool) -> LmsCrmError:
        """Only a translation: ops/treatment.py decides."""
        said, wait = f"{self._url} answers {response.status_code}", retry_after_seconds(response.headers)
        match treatment(_SYSTEM, Answer(response.status_code, message=response.text[:1000])):
            case Treatment.SLOW_DOWN:
                return RateLimitedError(said, retry_after_seconds=wait)
            case Treatment.RETRY:
                return RetryableError(said, retry_after_seconds=wait)
            case Treatment.REFRESH:
                return CredentialError(f"{said}: check destination.token")
            case Treatment.BISECT if of_batch:
                return BatchRefusedError(said, code=str(response.status_code), detail=response.text[:1000])
            case _ if response.status_code == HTTPStatus.FORBIDDEN:
                return PermissionMissingError(f"{said}: the credential lacks a right")
            case _:
                return ProtocolError(said)


def _field(told: Mapping[str, Any]) -> CrmField:
    return CrmField(
        told["name"],
        told["type"],
        Kind(told["type"]),
        length=told.get("length"),
        required=told.get("required", False),
        unique=told.get("unique", False),
        key=told.get("unique", False),
        references=tuple(told.get("references", ())),
    )


def _wire(spec: ObjectSpec, write: CrmWrite) -> dict[str, str | None]:
    parents = {spec.parents[obj].relation: write.parents[obj] for obj in spec.parents if obj in write.parents}
    return {spec.match_key: write.external_id, **write.values, **parents}


def _record(spec: ObjectSpec, row: Mapping[str, Any]) -> CrmRecord:
    fields = row["fields"]
    parents = {
        parent: [str(fields[of.relation])] if fields.get(of.relation) else [] for parent, of in spec.parents.items()
    }
    values = {name: fields.get(name) for name in spec.fields}
    return CrmRecord(str(fields[spec.match_key]), str(row["id"]), values, parents)


def _outcome(write: CrmWrite, result: Mapping[str, Any]) -> Outcome:
    if "error" not in result:
        return Outcome(write.external_id, OutcomeStatus.SUCCEEDED, str(result["id"]))
    code, message = str(result["error"]["code"]), str(result["error"]["message"])
    what = treatment(_SYSTEM, Answer(HTTPStatus.OK, code, message, of_record=True))
    status = OutcomeStatus.REJECTED if what is Treatment.REJECT else OutcomeStatus.FAILED
    return Outcome(write.external_id, status, write.crm_id, code, message, what)


def fits(adapter: TemplateAdapter) -> CrmAdapter:
    """Type checkers hold the adapter against the protocol here."""
    return adapter
