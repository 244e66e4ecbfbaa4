"""Salesforce through simple-salesforce: client credentials, SOQL snapshots, sObject Collections upserts.

Holes of simple-salesforce 1.12 closed here: no time limits, `https://` hard-coded, redirects followed with the token,
no lock around a refresh, URLs bound to a session. One `Salesforce` object serves one thread; the token is shared.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceError,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)

from lms_crm_assets.contract.credentials import resolve
from lms_crm_assets.contract.models import Contract, SalesforceDestination
from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema, from_describe
from lms_crm_assets.crm.protocol import BulkLoader, CrmRecord, Linker
from lms_crm_assets.domain import CrmObject, CrmWrite, FieldType, Outcome, OutcomeStatus
from lms_crm_assets.errors import (
    BatchRefusedError,
    CredentialError,
    FatalError,
    PermissionMissingError,
    ProtocolError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from lms_crm_assets.ops.gate import Gate
from lms_crm_assets.ops.patience import patient
from lms_crm_assets.ops.store import OperationalStore

T = TypeVar("T")

_TIMEOUT_SECONDS = (10, 150)
_KEYS_A_QUERY = 100
# Salesforce limits the day, not the second; a Collections call of 200 takes about 0.5 s.
_CALLS_PER_SECOND = 2.0
# The row is fine, its moment was not: the same row may pass when sent again (facts: errors).
_PASSING_TROUBLES = frozenset({"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "ALL_OR_NONE_OPERATION_ROLLED_BACK"})


class SalesforceAdapter:
    """One Salesforce org."""

    linker: Linker | None = None
    bulk: BulkLoader | None = None

    def __init__(self, contract: Contract, destination: SalesforceDestination, store: OperationalStore) -> None:
        self.batch_size = destination.batch_size
        self.concurrency = destination.concurrency
        self._destination = destination
        self._client_id = resolve(str(destination.client_id))
        self._client_secret = resolve(str(destination.client_secret))
        calls = contract.throttle.crm.calls_per_10_seconds
        self.calls_per_second = _CALLS_PER_SECOND if calls is None else min(_CALLS_PER_SECOND, calls / 10)
        self._gate = Gate(
            store,
            destination.url,
            self._client_id.get_secret_value(),
            calls=calls,
            at_once=destination.concurrency,
            quota_share=contract.guardrails.quota_share,
        )
        self.traffic = self._gate.traffic
        self._session = _OneHostSession(destination.url, destination.concurrency)
        self._refresh = threading.Lock()
        self._token: str | None = None
        self._local = threading.local()

    def probe(self) -> None:
        """Log in and look at the limits."""
        try:
            self._call(lambda sf: sf.limits())
        except UnreachableError as exc:
            raise WrongAddressError(f"{exc}: check destination.url") from exc

    def changed_since(self, spec: ObjectSpec, since: datetime) -> Iterator[list[CrmRecord]]:
        """Records changed since."""
        raise NotImplementedError

    def discover(self, to: str, parents: Sequence[str] = (), /) -> CrmSchema | None:
        """Describe the object."""

        def describe(sf: Salesforce) -> Any:
            try:
                return sf.restful(f"sobjects/{quote(to, safe='')}/describe")
            except SalesforceResourceNotFound:
                return None

        answer = self._call(describe)
        return None if answer is None else from_describe(answer, parents)

    def snapshot(self, spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """Query page by page; parents by the Id behind the relationship."""
        soql = f"SELECT {_columns(spec)} FROM {spec.to} WHERE {spec.match_key} != null"
        answer = self._query(soql, spec)
        while True:
            yield [_record(spec, row) for row in answer["records"]]
            if answer["done"]:
                return
            answer = self._more(answer["nextRecordsUrl"], spec)

    def _query(self, soql: str, spec: ObjectSpec) -> Any:
        return self._read(lambda sf: sf.query(soql), spec)

    def _more(self, url: str, spec: ObjectSpec) -> Any:
        return self._read(lambda sf: sf.query_more(url, identifier_is_url=True), spec)

    def _read(self, call: Callable[[Salesforce], T], spec: ObjectSpec) -> T:
        """A call that changes nothing, made again when trouble passes."""
        return patient(lambda: self._call(call, spec))

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """One sObject Collections call, `allOrNone` off; results come in input order."""
        body = {"allOrNone": False, "records": [_wire(spec, write) for write in writes]}
        path = f"composite/sobjects/{spec.to}/{spec.match_key}"
        results = self._call(lambda sf: sf.restful(path, method="PATCH", json=body), spec)
        if not isinstance(results, list) or len(results) != len(writes):
            raise RetryableError(f"Salesforce answered {path} without one result a record: the outcome is unknown")
        return [_outcome(write, result) for write, result in zip(writes, results, strict=True)]

    def archive(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Delete into the recycle bin; what is there already counts as done."""
        query = {"ids": ",".join(str(write.crm_id) for write in writes), "allOrNone": "false"}
        results = self._call(lambda sf: sf.restful("composite/sobjects", params=query, method="DELETE"), spec)
        if not isinstance(results, list) or len(results) != len(writes):
            raise RetryableError("Salesforce answered a deletion without one result a record: the outcome is unknown")
        outcomes = [_outcome(write, result) for write, result in zip(writes, results, strict=True)]
        return [replace(o, status=OutcomeStatus.SUCCEEDED) if o.code == "ENTITY_IS_DELETED" else o for o in outcomes]

    def read(self, spec: ObjectSpec, external_ids: Sequence[str]) -> list[CrmRecord]:
        """Query by match key, so many at a time that the address stays short."""
        columns = _columns(spec)
        found: list[CrmRecord] = []
        for start in range(0, len(external_ids), _KEYS_A_QUERY):
            keys = ", ".join(_soql_text(key) for key in external_ids[start : start + _KEYS_A_QUERY])
            soql = f"SELECT {columns} FROM {spec.to} WHERE {spec.match_key} IN ({keys})"
            found.extend(_record(spec, row) for row in self._query(soql, spec)["records"])
        return found

    def quota(self) -> tuple[int, int] | None:
        """From the org's limits."""
        daily = self._call(lambda sf: sf.limits())["DailyApiRequests"]
        return daily["Max"] - daily["Remaining"], daily["Max"]

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _call(self, call: Callable[[Salesforce], T], spec: ObjectSpec | None = None) -> T:
        """Make a call with a valid session, refreshing it once; the errors are translated."""
        token = self._valid_token(instead_of=None)
        with self._gate.call():
            try:
                return call(self._client(token))
            except SalesforceExpiredSession:
                pass
            except (SalesforceError, requests.RequestException) as exc:
                raise _translated(exc, self._destination.url, spec) from None
        fresh = self._valid_token(instead_of=token)
        with self._gate.call():
            try:
                return call(self._client(fresh))
            except (SalesforceError, requests.RequestException) as exc:
                raise _translated(exc, self._destination.url, spec) from None

    def _valid_token(self, instead_of: str | None) -> str:
        """The shared token; logs in when there is none, or when it still is the one that was refused."""
        with self._refresh:
            if self._token is None or self._token == instead_of:
                self._token = self._log_in()
            return self._token

    def _log_in(self) -> str:
        try:
            return Salesforce(
                consumer_key=self._client_id.get_secret_value(),
                consumer_secret=self._client_secret.get_secret_value(),
                # Only the flow is chosen by it: the session sends everything to the configured address.
                domain=str(urlsplit(self._destination.url).hostname).removesuffix(".salesforce.com"),
                session=self._session,
                version=self._destination.api_version,
            ).session_id
        except SalesforceAuthenticationFailed as exc:
            raise CredentialError(
                f"Salesforce at {self._destination.url} refuses the credential ({exc.code}): "
                "check destination.client_id and destination.client_secret"
            ) from None  # the cause may hold the request's form
        except requests.RequestException as exc:
            raise _translated(exc, self._destination.url, None) from None
        except (AttributeError, ValueError, TypeError) as exc:
            # simple-salesforce assumes a token answer's shape.
            raise ProtocolError(
                f"{self._destination.url} does not answer as Salesforce: check destination.url"
            ) from exc

    def _client(self, token: str) -> Salesforce:
        cached: tuple[str, Salesforce] | None = getattr(self._local, "client", None)
        if cached is None or cached[0] != token:
            client = Salesforce(
                session_id=token,
                instance_url=self._destination.url,
                session=self._session,
                version=self._destination.api_version,
            )
            cached = self._local.client = (token, client)
        return cached[1]


class _OneHostSession(requests.Session):
    """Sends every request to the one configured address, in its turn, with time limits, following no redirect."""

    def __init__(self, base_url: str, connections: int) -> None:
        super().__init__()
        self._base = urlsplit(base_url)
        self.trust_env = False
        self.mount(f"{self._base.scheme}://", HTTPAdapter(pool_maxsize=connections, max_retries=0))

    def request(self, method: str, url: str, *args: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        here = urlsplit(url)._replace(scheme=self._base.scheme, netloc=self._base.netloc).geturl()
        options["timeout"] = options.get("timeout") or _TIMEOUT_SECONDS
        options["allow_redirects"] = False
        return super().request(method, here, *args, **options)


def _columns(spec: ObjectSpec) -> str:
    return ", ".join(["Id", spec.match_key, *spec.fields, *(f"{p.relation}.Id" for p in spec.parents.values())])


def _soql_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _record(spec: ObjectSpec, row: dict[str, Any]) -> CrmRecord:
    parents = {parent: [row[of.relation]["Id"]] if row.get(of.relation) else [] for parent, of in spec.parents.items()}
    return CrmRecord(row[spec.match_key], row["Id"], {name: row[name] for name in spec.fields}, parents)


def _wire(spec: ObjectSpec, write: CrmWrite) -> dict[str, Any]:
    values = {name: _json(value, spec.fields[name]) for name, value in write.values.items()}
    parents = {
        spec.parents[CrmObject(parent)].relation: {spec.parents[CrmObject(parent)].match_key: external_id}
        for parent, external_id in write.parents.items()
    }
    return {"attributes": {"type": spec.to}, spec.match_key: write.external_id, **values, **parents}


def _json(value: str | None, field: FieldSpec) -> Any:
    if value is None:
        return None
    match field.type:
        case FieldType.NUMBER:
            return float(value)
        case FieldType.BOOLEAN:
            return value == "true"
        case _:
            return value


def _outcome(write: CrmWrite, result: dict[str, Any]) -> Outcome:
    if result["success"]:
        return Outcome(write.external_id, OutcomeStatus.SUCCEEDED, result.get("id") or write.crm_id)
    error = (result.get("errors") or [{}])[0]
    code = error.get("statusCode", "UNKNOWN")
    status = OutcomeStatus.FAILED if code in _PASSING_TROUBLES else OutcomeStatus.REJECTED
    return Outcome(write.external_id, status, write.crm_id, code, error.get("message"))


def _translated(exc: Exception, url: str, spec: ObjectSpec | None) -> Exception:
    """What an exception of simple-salesforce or requests means to us."""
    if isinstance(exc, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError):
        return UnreachableError(f"Salesforce at {url} can't be reached or broke off ({type(exc).__name__})")
    if not isinstance(exc, SalesforceError):
        return RetryableError(f"the call to Salesforce at {url} went wrong ({type(exc).__name__})")
    code, message = _code_and_message(exc.content)
    # The message may quote learner data; only those about names in the contract are safe to show.
    said = f"Salesforce at {url} answers {exc.status} {code}"
    match exc:
        case SalesforceExpiredSession():
            return CredentialError(f"{said}; a fresh session is refused as well")
        case SalesforceRefusedRequest() if code == "REQUEST_LIMIT_EXCEEDED" and "Concurrent" in message:
            return RetryableError(said)
        case SalesforceRefusedRequest() if code == "REQUEST_LIMIT_EXCEEDED":
            return FatalError(f"{said}; the day's quota is used up, what is pending is sent by the next run")
        case SalesforceRefusedRequest():
            return PermissionMissingError(f"{said}; check the integration user's permissions")
        case SalesforceMalformedRequest() if code in {"INVALID_FIELD", "INVALID_TYPE", "MALFORMED_QUERY"} and spec:
            return FatalError(f"{said}: {message}; objects.{spec.object} names something that this org doesn't have")
        case SalesforceMalformedRequest():
            return BatchRefusedError(said, code=code, detail=message)
        case SalesforceResourceNotFound() if spec:
            return FatalError(f"{said}; check objects.{spec.object}.to and its match_key")
        case _ if exc.status >= requests.codes.server_error or exc.status in {420, 429}:
            return RetryableError(said)
        case _:
            return ProtocolError(said)


def _code_and_message(content: Any) -> tuple[str, str]:
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(first, dict):
        # A query's error quotes the query; what is wrong stands in its last line.
        lines = str(first.get("message", "")).strip().splitlines()
        return str(first.get("errorCode", "UNKNOWN")), lines[-1] if lines else ""
    return "UNKNOWN", "no JSON"
