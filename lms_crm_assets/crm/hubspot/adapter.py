"""One HubSpot portal behind the adapters' protocol: list snapshots, batch upserts with trace ids, v4 associations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from lms_crm_assets.contract.models import Contract, HubSpotDestination
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.discovery import CrmSchema
from lms_crm_assets.crm.hubspot import records
from lms_crm_assets.crm.hubspot.answers import UnreadableError, expect_only, listed, unreadable
from lms_crm_assets.crm.hubspot.associations import HubSpotLinker
from lms_crm_assets.crm.hubspot.client import HubSpotClient
from lms_crm_assets.crm.hubspot.discover import discover
from lms_crm_assets.crm.hubspot.search import EndOfSearchError, Search
from lms_crm_assets.crm.protocol import BulkLoader, CrmRecord, Linker
from lms_crm_assets.domain import CrmWrite, Outcome
from lms_crm_assets.errors import ProtocolError, QuotaReachedError, UnreachableError, WrongAddressError
from lms_crm_assets.ops.store import OperationalStore

_PAGE = 100
_MISSING = "OBJECT_NOT_FOUND"


class HubSpotAdapter:
    """One HubSpot portal."""

    linker: Linker | None
    bulk: BulkLoader | None = None

    def __init__(self, contract: Contract, destination: HubSpotDestination, store: OperationalStore) -> None:
        self.client = HubSpotClient(contract, destination, store)
        self._links = HubSpotLinker(self.client)
        self.linker = self._links
        self.batch_size = destination.batch_size
        self.concurrency = destination.concurrency
        self.calls_per_second = self.client.calls_per_10_seconds / 10

    @property
    def traffic(self) -> Mapping[str, int]:
        """Calls made so far: `calls`, of them `rate_limited` and `failed`."""
        return self.client.traffic

    def probe(self) -> None:
        """List one contact."""
        try:
            self.client.call("GET", self.client.paths.objects("contacts"), query={"limit": 1}, urgent=True)
        except (UnreachableError, UnreadableError) as exc:
            raise WrongAddressError(f"{exc}: check destination.url") from exc

    def discover(self, to: str, parents: Sequence[str] = (), /) -> CrmSchema | None:
        """Properties, the schema's required ones, and the association labels to each parent."""
        return discover(self.client, to, parents)

    def snapshot(self, spec: ObjectSpec) -> Iterator[list[CrmRecord]]:
        """List all records; those without the match key are not ours."""
        query: dict[str, Any] = {"limit": _PAGE, "properties": ",".join([spec.match_key, *spec.fields])}
        by_name = records.are_listed_by_name(spec)
        if spec.parents and by_name:
            query["associations"] = ",".join(parent.to for parent in spec.parents.values())
        seen: set[str] = set()
        while True:
            answer = self.client.read("GET", self.client.paths.objects(spec.to), query=query)
            rows = [row for row in answer["results"] if row["properties"].get(spec.match_key)]
            complete = by_name and not any(map(records.has_more_links, rows))
            yield [records.record(spec, row) for row in rows] if complete else self._with_parents(spec, rows)
            after = answer.get("paging", {}).get("next", {}).get("after")
            if after is None:
                return
            if str(after) in seen:
                raise ProtocolError(f"HubSpot at {self.client.url} gives the same page of {spec.to} again and again")
            seen.add(str(after))
            query["after"] = after

    def changed_since(self, spec: ObjectSpec, since: datetime) -> Iterator[list[CrmRecord]]:
        """Search by the time of change; everything where one moment has more changes than a search gives."""
        if self.client.has_to_ask_for_quota:  # answers of the search don't tell it
            self.client.read("GET", self.client.paths.objects("contacts"), query={"limit": 1})
        path = self.client.paths.objects(spec.to, "search")
        search = Search(spec, lambda body: self.client.read("POST", path, body=body, pool="search"))
        try:
            for rows in search.changed_since(since):
                yield self._with_parents(spec, [row for row in rows if row["properties"].get(spec.match_key)])
        except EndOfSearchError:
            yield from self.snapshot(spec)

    def upsert(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """One batch upsert: a bad record costs only itself."""
        answer = self._write(spec, "batch/upsert", records.inputs(spec, writes))
        if not isinstance(answer, Mapping) or "results" not in answer:
            raise unreadable(self.client.url)
        return records.outcomes(spec, writes, answer)

    def archive(self, spec: ObjectSpec, writes: Sequence[CrmWrite]) -> list[Outcome]:
        """One batch archive; records that are archived already count as done."""
        answer = self._write(spec, "batch/archive", [{"id": str(write.crm_id)} for write in writes])
        return records.archived(writes, answer)

    def read(self, spec: ObjectSpec, external_ids: Sequence[str]) -> list[CrmRecord]:
        """Batch read by match key, then the associations of what was found."""
        found: list[CrmRecord] = []
        for start in range(0, len(external_ids), _PAGE):
            body = {
                "idProperty": spec.match_key,
                "properties": [spec.match_key, *spec.fields],
                "inputs": [{"id": key} for key in external_ids[start : start + _PAGE]],
            }
            answer = self.client.read("POST", self.client.paths.objects(spec.to, "batch/read"), body=body)
            expect_only(listed(answer, "errors"), _MISSING, self.client.url)
            found += self._with_parents(spec, listed(answer, "results"))
        return found

    def quota(self) -> tuple[int, int] | None:
        """From the headers of the last answer; OAuth apps are not told."""
        if self.client.quota is None:
            try:
                self.probe()
            except QuotaReachedError:  # which is an answer too
                return self.client.quota
        return self.client.quota

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _with_parents(self, spec: ObjectSpec, rows: Sequence[Mapping[str, Any]]) -> list[CrmRecord]:
        ids = [str(row["id"]) for row in rows]
        linked = {parent: self._links.linked(spec.to, of.to, ids) for parent, of in spec.parents.items()}
        return [
            replace(records.record(spec, row), parents={parent: _ids(of, row) for parent, of in linked.items()})
            for row in rows
        ]

    def _write(self, spec: ObjectSpec, operation: str, inputs: Sequence[Mapping[str, Any]]) -> Any:
        path = self.client.paths.objects(spec.to, operation)
        return self.client.call("POST", path, body={"inputs": list(inputs)}, is_batch=True)


def _ids(linked: Mapping[str, Mapping[str, Any]], row: Mapping[str, Any]) -> list[str]:
    return sorted(linked.get(str(row["id"]), {}), key=int)
