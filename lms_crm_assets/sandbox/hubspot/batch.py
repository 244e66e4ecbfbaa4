"""CRM records by the hundred: read, create, update, upsert, archive.

The rule all writes share (HubSpot documentation, "Handling errors", multi-status): without a unique
`objectWriteTraceId` on every input one bad input rejects the whole batch and nothing is written; with them the good
ones are written and the bad ones are listed in `errors`, each with its trace id.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lms_crm_assets.sandbox.core import Stats
from lms_crm_assets.sandbox.hubspot.errors import (
    HubSpotError,
    duplicate_ids,
    missing_fields,
    nothing_to_update,
    objects_not_found,
)
from lms_crm_assets.sandbox.hubspot.links import ID, Link, links_asked, make_links
from lms_crm_assets.sandbox.hubspot.objects import CREATE, HISTORY_LIMIT, UPDATE, history, view
from lms_crm_assets.sandbox.hubspot.record_faults import RecordFault
from lms_crm_assets.sandbox.hubspot.store import Store
from lms_crm_assets.sandbox.hubspot.table import Table, now_ms
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint, Shape, batch_answer, check_batch_size
from lms_crm_assets.sandbox.hubspot.writes import Claims, Plan, apply, check_id_property, plan

MAX_INPUTS = 100

_INPUTS: Shape = {"inputs": "list"}
_READ: Shape = {"inputs": "list", "idProperty": "string", "properties": "strings", "propertiesWithHistory": "strings"}
_BY_ID: Shape = {**UPDATE, "id": "string", "idProperty": "string"}

Input = dict[str, Any]


@dataclass(slots=True)
class Ready:
    """An input whose write will succeed, with the properties its result shows."""

    planned: Plan
    shown: Sequence[str]
    trace_id: str | None
    links: Sequence[Link] = ()


class Batches:
    """The endpoints `…/{type}/batch/…`."""

    def __init__(self, store: Store, stats: Stats) -> None:
        self.record_faults: Sequence[RecordFault] = ()
        self._store = store
        self._stats = stats

    def endpoints(self) -> list[Endpoint]:
        """On the v3 and the dated paths."""
        return [
            Endpoint("POST", f"{base}/batch/{action}", handler)
            for base in ("/crm/v3/objects/{type}", "/crm/objects/{version}/{type}")
            for action, handler in (
                ("upsert", self.upsert),
                ("create", self.create),
                ("update", self.update),
                ("read", self.read),
                ("archive", self.archive),
            )
        ]

    def upsert(self, call: Call) -> Answer:
        """Update by a unique property's value, or create.

        Each input names its own `idProperty`. By `email` there is no partial success: one bad input rejects the batch
        even with trace ids (our reading of HubSpot's "no partial upserts"). Version 2026-09 answers 200 with `errors`.
        """
        table = self._store.table(call.path["type"])
        inputs = self._inputs(call, _BY_ID, "id", "properties")
        for given in inputs:
            if missing := [name for name in ("id", "idProperty") if not given.get(name)]:
                raise missing_fields(missing)
            check_id_property(table, given["idProperty"])
        _check_duplicates(table, inputs)

        def prepare(given: Input, claims: Claims) -> Ready:
            for fault in self.record_faults:
                fault.check(table.type, given["id"])
            id_property, sent = given["idProperty"], given["properties"]
            record = table.find(id_property, given["id"])
            if record is None:
                sent = {id_property: given["id"], **sent}
            planned = plan(self._store, table, record, sent, claims)
            return Ready(planned, [id_property, *given["properties"]], given.get("objectWriteTraceId"))

        partial = _traceable(inputs) and all(given["idProperty"] != "email" for given in inputs)
        with_errors = 200 if call.version == "2026-09" else 207
        return self._write(table, inputs, prepare, partial=partial, with_errors=with_errors, upsert=True)

    def create(self, call: Call) -> Answer:
        """New records, with associations if asked: 201."""
        table = self._store.table(call.path["type"])
        inputs = self._inputs(call, CREATE, "properties")

        def prepare(given: Input, claims: Claims) -> Ready:
            asked = links_asked(self._store, table, call, given)
            planned = plan(self._store, table, None, given["properties"], claims)
            return Ready(planned, list(given["properties"]), given.get("objectWriteTraceId"), asked)

        return self._write(table, inputs, prepare, partial=_traceable(inputs), status=201)

    def update(self, call: Call) -> Answer:
        """Change records by id or by a unique property; those that do not exist never fail the others."""
        table = self._store.table(call.path["type"])
        inputs = self._inputs(call, _BY_ID, "id", "properties")
        for given in inputs:
            if given.get("idProperty") is not None:
                check_id_property(table, given["idProperty"])
        _check_duplicates(table, inputs)

        def prepare(given: Input, claims: Claims) -> Ready:
            if not given["properties"]:
                raise nothing_to_update()
            record = table.find(given.get("idProperty"), given["id"])
            if record is None:
                raise objects_not_found(table.type.label, [given["id"]])
            planned = plan(self._store, table, record, given["properties"], claims)
            return Ready(planned, list(given["properties"]), given.get("objectWriteTraceId"))

        return self._write(table, inputs, prepare, partial=_traceable(inputs))

    def read(self, call: Call) -> Answer:
        """Records by id or by one unique property for all inputs; misses make it 207 with their `context.ids`."""
        started = now_ms()
        table = self._store.table(call.path["type"])
        body = call.json(_READ, "inputs")
        past = body.get("propertiesWithHistory") or []
        check_batch_size(body["inputs"], HISTORY_LIMIT if past else MAX_INPUTS)
        id_property = body.get("idProperty")
        if id_property is not None:
            check_id_property(table, id_property)
        archived = call.flag("archived")
        results, missed = {}, []
        for given in body["inputs"]:
            key = call.fit(given, ID, "id")["id"]
            record = table.find(id_property, key)
            if archived:
                record = table.records.get(int(key)) if key.isdecimal() else None
            if record is None or bool(record.archived) != archived:
                missed.append(key)
                continue
            shown = view(table.type, record, body.get("properties") or None)
            if past:
                shown["propertiesWithHistory"] = history(record, past)
            results[record.id] = shown
        errors = [objects_not_found(table.type.label, missed).entry()] if missed else []
        return batch_answer(started, _shuffled(list(results.values())), errors, status=200)

    def archive(self, call: Call) -> Answer:
        """Archive by id: 204, whatever of them exists."""
        table = self._store.table(call.path["type"])
        for given in self._inputs(call, ID, "id"):
            record = table.live(given["id"])
            if record is not None:
                self._store.archive(table, record)
                self._stats.count_record(table.type.name, "archived")
        return Answer(None, 204)

    def _inputs(self, call: Call, shape: Shape, *required: str) -> list[Input]:
        given = call.json(_INPUTS, "inputs")["inputs"]
        inputs = [call.fit(one, shape, *required) for one in given]
        check_batch_size(inputs, MAX_INPUTS)
        return inputs

    def _write(
        self,
        table: Table,
        inputs: Sequence[Input],
        prepare: Callable[[Input, Claims], Ready],
        *,
        partial: bool,
        status: int = 200,
        with_errors: int = 207,
        upsert: bool = False,
    ) -> Answer:
        started = now_ms()
        claims: Claims = {}
        ready: list[Ready] = []
        errors: list[dict[str, Any]] = []
        for given in inputs:
            try:
                ready.append(prepare(given, claims))
            except HubSpotError as exc:
                # A record that is not there is listed even without trace ids (recorded answers of batch/update).
                if not partial and exc.status != 404:  # noqa: PLR2004 - HTTP
                    self._stats.count_record(table.type.name, "rejected", len(inputs))
                    raise
                errors.append(exc.entry(given.get("objectWriteTraceId")))
        if errors:
            self._stats.count_record(table.type.name, "rejected", len(errors))
        results = []
        for one in ready:
            record, outcome = apply(self._store, table, one.planned)
            self._stats.count_record(table.type.name, outcome)
            make_links(self._store, self._stats, table, record, one.links)
            shown = view(table.type, record, one.shown)
            if upsert:
                shown["new"] = outcome == "created"
            if one.trace_id is not None:
                shown["objectWriteTraceId"] = one.trace_id
            results.append(shown)
        return batch_answer(started, _shuffled(results), errors, status=status, with_errors=with_errors)


def _check_duplicates(table: Table, inputs: Sequence[Input]) -> None:
    keys = Counter((given.get("idProperty"), table.key(given.get("idProperty") or "", given["id"])) for given in inputs)
    if len(keys) < len(inputs):
        raise duplicate_ids([key for (_, key), times in keys.items() if times > 1])


def _traceable(inputs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every input has a trace id of its own."""
    traces = {given.get("objectWriteTraceId") for given in inputs}
    return None not in traces and len(traces) == len(inputs)


def _shuffled(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """HubSpot's results do not follow the inputs' order; the same batch always comes back in the same order."""
    if len(results) > 1:
        random.Random(len(results)).shuffle(results)  # noqa: S311 - an order, not a secret
    return results
