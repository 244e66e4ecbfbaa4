"""HubSpot through hubspot-api-client: list snapshots, batch upserts with trace ids, v4 associations.

Holes of hubspot-api-client 12 closed here: a new pool for each access (one client object is kept), no time limits,
retries of its own (switched off: one layer only), models that drop errors (plain objects are asked for).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
import urllib3
from hubspot.crm.objects import ApiClient, Configuration
from hubspot.crm.objects.exceptions import ApiException

from lms_crm_assets.contract.credentials import resolve
from lms_crm_assets.contract.models import Contract, HubSpotDestination
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema, discover_hubspot
from lms_crm_assets.crm.normal_form import without_trailing_zeros
from lms_crm_assets.crm.protocol import BulkLoader, CrmRecord, Linker
from lms_crm_assets.domain import CrmObject, CrmWrite, FieldType, Link, Outcome, OutcomeStatus
from lms_crm_assets.errors import (
    BatchRefusedError,
    CredentialError,
    FatalError,
    PermissionMissingError,
    ProtocolError,
    RateLimitedError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from lms_crm_assets.ops.gate import Gate
from lms_crm_assets.ops.patience import patient
from lms_crm_assets.ops.store import OperationalStore

_TIMEOUT_SECONDS = (10, 120)
_PAGE = 100
_TRANSIENT = frozenset({408, 423, 425, 429, 477, 500, 502, 503, 504, 521, 523, 524})
# HubSpot names the standard objects in the answers by their plural, whatever they were asked by.
_STANDARD_NAMES = {"0-1": "contacts", "contact": "contacts", "0-410": "courses", "course": "courses"}
_PLAIN: dict[int, str] = dict.fromkeys((200, 201, 204, 207), "object")


class HubSpotAdapter:
    """One HubSpot portal."""

    linker: Linker | None
    bulk: BulkLoader | None = None

    def __init__(self, contract: Contract, destination: HubSpotDestination, store: OperationalStore) -> None:
        self.linker = _Linker(self)
        self.batch_size = destination.batch_size
        self.concurrency = destination.concurrency
        self._url = destination.url
        self._api_version = destination.api_version
        token = resolve(str(destination.access_token)).get_secret_value()
        calls = contract.throttle.crm.calls_per_10_seconds or destination.calls_per_10_seconds
        self._gate = Gate(store, destination.url, token, calls=calls, quota_share=contract.guardrails.quota_share)
        self.traffic = self._gate.traffic
        self.calls_per_second = calls / 10
        self._daily: tuple[int, int] | None = None
        configuration = Configuration(host=destination.url)
        configuration.access_token = token
        configuration.retries = False
        configuration.connection_pool_maxsize = destination.concurrency
        self._client = ApiClient(configuration)
        self._link_types: dict[tuple[str, str, str], list[dict[str, Any]]] = {}

    def probe(self) -> None:
        """List one contact."""
        try:
            self._call("GET", f"/crm/{self._api_version}/objects/contacts", query={"limit": 1})
        except UnreachableError as exc:
            raise WrongAddressError(f"{exc}: check destination.url") from exc

    def changed_since(self, spec: ObjectSpec, since: datetime) -> Iterator[list[CrmRecord]]:
        """Records changed since."""
        raise NotImplementedError

    def discover(self, to: str, parents: Sequence[str] = (), /) -> CrmSchema | None:
        """Properties, the schema's required ones, and the association labels to each parent."""
        return discover_hubspot(lambda path: self._call("GET", path), self._api_version, to, parents)

    def snapshot(self, spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """List all records; those without the match key are not ours."""
        query: dict[str, Any] = {"limit": _PAGE, "properties": ",".join([spec.match_key, *spec.fields])}
        if spec.parents:
            query["associations"] = ",".join(parent.to for parent in spec.parents.values())
        while True:
            answer = self._read("GET", self._path(spec), query=query, spec=spec)
            rows = answer["results"]
            yield [_record(spec, row) for row in rows if row["properties"].get(spec.match_key)]
            after = answer.get("paging", {}).get("next", {}).get("after")
            if after is None:
                return
            query["after"] = after

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """One batch upsert; a trace id per input makes a bad record cost only itself (207)."""
        body = {
            "inputs": [
                {
                    "id": write.external_id,
                    "idProperty": spec.match_key,
                    "properties": {spec.match_key: write.external_id, **_wire(spec, write)},
                    "objectWriteTraceId": write.external_id,
                }
                for write in writes
            ]
        }
        answer = self._call("POST", f"{self._path(spec)}/batch/upsert", body=body, spec=spec)
        return match_results(spec.match_key, writes, answer)

    def archive(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """One batch archive; HubSpot answers nothing, records that are archived already included."""
        self._call(
            "POST",
            f"{self._path(spec)}/batch/archive",
            body={"inputs": [{"id": str(write.crm_id)} for write in writes]},
            spec=spec,
        )
        return [Outcome(write.external_id, OutcomeStatus.SUCCEEDED, write.crm_id) for write in writes]

    def read(self, spec: ObjectSpec, external_ids: Sequence[str]) -> list[CrmRecord]:
        """Batch read by match key, then the associations of what was found."""
        found: list[CrmRecord] = []
        for start in range(0, len(external_ids), _PAGE):
            body = {
                "idProperty": spec.match_key,
                "properties": [spec.match_key, *spec.fields],
                "inputs": [{"id": key} for key in external_ids[start : start + _PAGE]],
            }
            rows = self._read("POST", f"{self._path(spec)}/batch/read", body=body, spec=spec)["results"]
            linked = {parent: self._linked(spec, of.to, rows) for parent, of in spec.parents.items()}
            for row in rows:
                parents = {parent: ids.get(row["id"], []) for parent, ids in linked.items()}
                found.append(replace(_record(spec, row), parents=parents))
        return found

    def _linked(self, spec: ObjectSpec, to: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
        """The CRM ids that each row is associated with."""
        path = f"/crm/v4/associations/{quote(spec.to, safe='')}/{quote(to, safe='')}/batch/read"
        answer = (
            self._read("POST", path, body={"inputs": [{"id": row["id"]} for row in rows]}, spec=spec) if rows else {}
        )
        return {
            result["from"]["id"]: sorted({str(ref["toObjectId"]) for ref in result["to"]}, key=int)
            for result in answer.get("results", [])
        }

    def quota(self) -> tuple[int, int] | None:
        """From the headers of the last answer; OAuth apps are not told."""
        if self._daily is None:
            self.probe()
        return self._daily

    def link(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Associate with the type that the contract's label names."""
        to = spec.parents[parent]
        if to.relation == "default":
            return self._associate(spec, to.to, "associate/default", [_pair(link) for link in links], links)
        types = self._types_of(spec, to.to, to.relation)
        return self._associate(spec, to.to, "create", [{**_pair(link), "types": types} for link in links], links)

    def unlink(self, spec: ObjectSpec, parent: CrmObject, links: Sequence[Link]) -> list[Outcome]:
        """Take every association between the pairs away; HubSpot answers nothing when all of it worked."""
        inputs = [{"from": {"id": link.from_crm_id}, "to": [{"id": link.to_crm_id}]} for link in links]
        path = self._associations(spec, spec.parents[parent].to)
        answer = self._call("POST", f"{path}/archive", body={"inputs": inputs}, spec=spec)
        errors = (answer or {}).get("errors") or []
        # Which pair an error means is not said in a form to rely on: none of them counts as done.
        return [_link_outcome(link, done=not errors, errors=errors) for link in links]

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    def _path(self, spec: ObjectSpec) -> str:
        return f"/crm/{self._api_version}/objects/{quote(spec.to, safe='')}"

    def _note_quota(self, headers: Mapping[str, str]) -> None:
        allowed, left = (headers.get(f"X-HubSpot-RateLimit-Daily{what}", "") for what in ("", "-Remaining"))
        if allowed.isdigit() and left.isdigit():
            self._daily = (int(allowed) - int(left), int(allowed))

    def _associate(
        self, spec: ObjectSpec, to: str, operation: str, inputs: list[dict[str, Any]], links: Sequence[Link]
    ) -> list[Outcome]:
        answer = (
            self._call("POST", f"{self._associations(spec, to)}/{operation}", body={"inputs": inputs}, spec=spec) or {}
        )
        made = {_ends(result) for result in answer.get("results") or []}
        errors = answer.get("errors") or []
        return [_link_outcome(link, done=(link.from_crm_id, link.to_crm_id) in made, errors=errors) for link in links]

    def _associations(self, spec: ObjectSpec, to: str) -> str:
        return f"/crm/v4/associations/{quote(spec.to, safe='')}/{quote(to, safe='')}/batch"

    def _types_of(self, spec: ObjectSpec, to: str, label: str) -> list[dict[str, Any]]:
        key = (spec.to, to, label)
        if key not in self._link_types:
            path = f"/crm/v4/associations/{quote(spec.to, safe='')}/{quote(to, safe='')}/labels"
            found = [t for t in self._call("GET", path, spec=spec)["results"] if t["label"] == label]
            if not found:
                raise FatalError(f"HubSpot has no association label {label!r} from {spec.to} to {to}")
            self._link_types[key] = [
                {"associationCategory": t["category"], "associationTypeId": t["typeId"]} for t in found
            ]
        return self._link_types[key]

    def _read(self, method: str, path: str, **options: Any) -> Any:
        """A call that changes nothing, made again when trouble passes."""
        return patient(lambda: self._call(method, path, **options))

    def _call(self, method: str, path: str, **options: Any) -> Any:
        with self._gate.call():
            return self._once(method, path, **options)

    def _once(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        spec: ObjectSpec | None = None,
    ) -> Any:
        try:
            content, status, headers = self._client.call_api(
                path,
                method,
                query_params=dict(query or {}),
                header_params={"Accept": "application/json"},
                body=body,
                response_types_map=_PLAIN,
                auth_settings=["oauth2"],
                _request_timeout=_TIMEOUT_SECONDS,
            )
        except ApiException as exc:
            raise _translated(exc, self._url, spec) from None  # its text holds the request's and answer's content
        except (urllib3.exceptions.HTTPError, UnicodeDecodeError) as exc:
            raise UnreachableError(
                f"HubSpot at {self._url} can't be reached or broke off ({type(exc).__name__})"
            ) from None
        self._note_quota(headers)
        if status == HTTPStatus.NO_CONTENT:
            return None
        if not isinstance(content, dict):
            raise RetryableError(f"HubSpot at {self._url} answered {path} with something that is no JSON object")
        return content


class _Linker:
    batch_size = 2000

    def __init__(self, adapter: HubSpotAdapter) -> None:
        self.link = adapter.link
        self.unlink = adapter.unlink


def match_results(match_key: str, writes: Sequence[CrmWrite], answer: Any) -> list[Outcome]:
    """Outcomes in the batch's order from results in any order; a record that is in neither list is unknown."""
    if not isinstance(answer, dict) or "results" not in answer:
        raise RetryableError("HubSpot answered a batch upsert without results: the outcome is unknown")
    written = {row["properties"].get(match_key): row["id"] for row in answer["results"]}
    refused = {
        trace_id: error
        for error in answer.get("errors") or []
        for trace_id in (error.get("context") or {}).get("objectWriteTraceId", [])
    }
    outcomes = []
    for write in writes:
        key = write.external_id
        if key in written:
            outcomes.append(Outcome(key, OutcomeStatus.SUCCEEDED, written[key]))
        elif key in refused:
            error = refused[key]
            outcomes.append(
                Outcome(
                    key, OutcomeStatus.REJECTED, write.crm_id, error.get("category", "UNKNOWN"), error.get("message")
                )
            )
        else:
            outcomes.append(Outcome(key, OutcomeStatus.FAILED, write.crm_id, "NO_RESULT", "no result was given"))
    return outcomes


def _record(spec: ObjectSpec, row: dict[str, Any]) -> CrmRecord:
    associations = row.get("associations") or {}
    parents = {
        parent: sorted({ref["id"] for ref in _associated(associations, of.to)}, key=int)
        for parent, of in spec.parents.items()
    }
    properties = row["properties"]
    return CrmRecord(
        properties[spec.match_key], row["id"], {name: properties.get(name) for name in spec.fields}, parents
    )


def _associated(associations: Mapping[str, Any], to: str) -> list[dict[str, Any]]:
    """The references to one object; a custom object's key carries the portal's id in front of its name."""
    name = _STANDARD_NAMES.get(to, to).removeprefix("p_")
    for key, value in associations.items():
        if key == name or key.endswith(f"_{name}"):
            return list(value["results"])
    return []


def _wire(spec: ObjectSpec, write: CrmWrite) -> dict[str, str]:
    return {
        name: without_trailing_zeros(value) if value and spec.fields[name].type is FieldType.NUMBER else value or ""
        for name, value in write.values.items()
    }


def _pair(link: Link) -> dict[str, Any]:
    return {"from": {"id": link.from_crm_id}, "to": {"id": link.to_crm_id}}


def _ends(result: Mapping[str, Any]) -> tuple[str, str]:
    """The two CRM ids of an association result, in either of the forms that HubSpot uses."""
    if "from" in result:
        return str(result["from"]["id"]), str(result["to"]["id"])
    return str(result.get("fromObjectId")), str(result.get("toObjectId"))


def _link_outcome(link: Link, *, done: bool, errors: Sequence[Mapping[str, Any]]) -> Outcome:
    """A link is made when the results name it; what nobody names is unknown and sent again."""
    if done:
        return Outcome(link.external_id, OutcomeStatus.SUCCEEDED, link.from_crm_id)
    if errors:
        code, message = errors[0].get("category", "UNKNOWN"), errors[0].get("message")
        return Outcome(link.external_id, OutcomeStatus.REJECTED, link.from_crm_id, code, message)
    return Outcome(link.external_id, OutcomeStatus.FAILED, link.from_crm_id, "NO_RESULT", "no result was given")


def _translated(exc: ApiException, url: str, spec: ObjectSpec | None) -> Exception:
    """What an error answer means to us."""
    try:
        body = orjson.loads(exc.body or "")
    except orjson.JSONDecodeError:
        body = {}
    # The message may quote learner data: it goes into outcomes, never into an exception's text.
    category, message = str(body.get("category") or body.get("errorType") or "UNKNOWN"), str(body.get("message", ""))
    said = f"HubSpot at {url} answers {exc.status} {category}"
    match exc.status:
        case 0:
            return RetryableError(f"HubSpot at {url} can't be reached safely (TLS)")
        case 401:
            return CredentialError(f"HubSpot at {url} refuses the credential (401): check destination.access_token")
        case 403:
            return PermissionMissingError(f"{said}; check the scopes of the app or service key")
        case 429 if body.get("policyName") == "DAILY":
            return FatalError(f"{said}; the day's quota is used up, what is pending is sent by the next run")
        case 429:
            return RateLimitedError(said, retry_after_seconds=_retry_after(exc))
        case status if status in _TRANSIENT:
            return RetryableError(said, retry_after_seconds=_retry_after(exc))
        case 400 | 409 if spec is not None:
            return BatchRefusedError(said, code=category, detail=message)
        case _:
            return ProtocolError(said)


def _retry_after(exc: ApiException) -> float | None:
    value = (exc.headers or {}).get("Retry-After", "")
    return min(float(value), 3600.0) if value.isascii() and value.isdigit() else None
