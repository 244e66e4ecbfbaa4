"""The Salesforce adapter: what the protocol asks for, by REST for some records and by bulk jobs for very many."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from simple_salesforce.api import Salesforce

from lms_crm_assets.contract.models import Contract, SalesforceDestination
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema, from_describe
from lms_crm_assets.crm.protocol import BulkLoader, CrmRecord, Linker
from lms_crm_assets.crm.salesforce.answers import UnreadableError, outcomes_of
from lms_crm_assets.crm.salesforce.bulk import SalesforceBulk
from lms_crm_assets.crm.salesforce.bulk_query import bulk_snapshot
from lms_crm_assets.crm.salesforce.describe import describe
from lms_crm_assets.crm.salesforce.org import Org, send_json, send_object
from lms_crm_assets.crm.salesforce.records import records_of, select, select_all, selects_of_keys, wire
from lms_crm_assets.domain import CrmWrite, Outcome, OutcomeStatus
from lms_crm_assets.errors import ProtocolError, UnreachableError, WrongAddressError
from lms_crm_assets.ops.store import OperationalStore

# Salesforce limits the day, not the second; a Collections call of 200 takes about 0.5 s.
_CALLS_PER_SECOND = 2.0
# The most that a page holds.
_PAGES = {"Sforce-Query-Options": "batchSize=2000"}


class SalesforceAdapter:
    """One Salesforce org."""

    linker: Linker | None = None

    def __init__(self, contract: Contract, destination: SalesforceDestination, store: OperationalStore) -> None:
        self.batch_size = destination.batch_size
        self.concurrency = destination.concurrency
        calls = contract.throttle.crm.calls_per_10_seconds
        self.calls_per_second = _CALLS_PER_SECOND if calls is None else min(_CALLS_PER_SECOND, calls / 10)
        self._store = store
        self._bulk_query_from = destination.bulk_query_from
        self._org = Org(contract, destination, store)
        self.bulk: BulkLoader | None = SalesforceBulk(
            self._org, destination.bulk_from, self.upsert, destination.batch_size
        )
        self.traffic: Mapping[str, int] = self._org.gate.traffic

    def probe(self) -> None:
        """Log in and look at the limits."""
        try:
            self._org.call(_limits, urgent=True)
        except UnreachableError as exc:
            raise WrongAddressError(f"{exc}: check destination.url") from exc

    def discover(self, to: str, parents: Sequence[str] = (), /) -> CrmSchema | None:
        """Describe the object."""
        told = describe(self._org, self._store, to)
        return None if told is None else from_describe(told, parents)

    def snapshot(self, spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """Query page by page; the first page tells how many there are, and whether a bulk job reads them sooner."""
        first = self._page(select_all(spec), spec)
        if first["totalSize"] >= self._bulk_query_from:
            schema = self.discover(spec.to)
            if schema is not None:
                yield from bulk_snapshot(self._org, spec, schema)
                return
        yield from self._pages(first, spec)

    def changed_since(self, spec: ObjectSpec, since: datetime) -> Iterator[list[CrmRecord]]:
        """Query by the last modification, to the second."""
        moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        soql = select(spec, f"{spec.match_key} != null AND SystemModstamp >= {moment}")
        yield from self._pages(self._page(soql, spec), spec)

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """One sObject Collections call, `allOrNone` off; results come in input order."""
        body = {"allOrNone": False, "records": [wire(spec, write) for write in writes]}
        path = f"composite/sobjects/{spec.to}/{spec.match_key}"
        return self._org.call(
            lambda sf: outcomes_of(writes, send_json(sf, "PATCH", path, json=body)), spec, of_batch=True
        )

    def archive(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """Delete into the recycle bin; what is there already counts as done."""
        query = {"ids": ",".join(str(write.crm_id) for write in writes), "allOrNone": "false"}
        outcomes = self._org.call(
            lambda sf: outcomes_of(writes, send_json(sf, "DELETE", "composite/sobjects", params=query)),
            spec,
            of_batch=True,
        )
        return [
            replace(o, status=OutcomeStatus.SUCCEEDED, treatment=None) if o.code == "ENTITY_IS_DELETED" else o
            for o in outcomes
        ]

    def read(self, spec: ObjectSpec, external_ids: Sequence[str]) -> list[CrmRecord]:
        """Query by match key, so many at a time that the address stays short."""
        return [
            record
            for soql in selects_of_keys(spec, external_ids)
            for page in self._pages(self._page(soql, spec), spec)
            for record in page
        ]

    def quota(self) -> tuple[int, int] | None:
        """As the answers told last, else from the org's limits."""
        known = self._org.gate.quota.known()
        if known is not None:
            return known
        daily = self._org.read(_limits)["DailyApiRequests"]
        return daily["Max"] - daily["Remaining"], daily["Max"]

    def close(self) -> None:
        """Close the connections."""
        self._org.close()

    def _page(self, soql: str, spec: ObjectSpec) -> Mapping[str, Any]:
        return self._org.read(lambda sf: _checked(sf.query(soql, headers=_PAGES), spec), spec)

    def _pages(self, page: Mapping[str, Any], spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        seen: set[str] = set()
        while True:
            yield page["records"]
            if page["done"]:
                return
            url = page["nextRecordsUrl"]
            if url in seen:
                raise ProtocolError(f"Salesforce at {self._org.url} gives the same page of {spec.to} again and again")
            seen.add(url)
            page = self._org.read(partial(_more, url, spec), spec)


def _checked(answer: Any, spec: ObjectSpec) -> dict[str, Any]:
    """A page of a query's answer with its records read; `UnreadableError` when it is none."""
    records = records_of(spec, answer)
    match answer:
        case {"totalSize": int(), "done": True} | {"totalSize": int(), "done": False, "nextRecordsUrl": str()}:
            return {**answer, "records": records}
    raise UnreadableError


def _more(url: str, spec: ObjectSpec, sf: Salesforce) -> dict[str, Any]:
    return _checked(sf.query_more(url, identifier_is_url=True, headers=_PAGES), spec)


def _limits(sf: Salesforce) -> Mapping[str, Any]:
    limits = send_object(sf, "GET", "limits")
    match limits:
        case {"DailyApiRequests": {"Max": int(), "Remaining": int()}}:
            return limits
    raise UnreadableError
