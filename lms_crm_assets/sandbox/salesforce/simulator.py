"""The simulator as the sandbox's core runs it."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.routing import BaseRoute

from lms_crm_assets.sandbox.core import SandboxRequestError, Stats

from . import dml
from .auth import Credentials, Tokens
from .cursors import Cursors
from .errors import JsonTypeError, RowError
from .org import Org
from .rest import Api
from .schema import Field, SObject, find_object
from .store import Record, Store


class SalesforceSimulator:
    """A strict Salesforce org over HTTP: OAuth, describe, records, Collections, composite, SOQL, limits."""

    name = "salesforce"
    lists_fewer = False

    def __init__(  # noqa: PLR0913 - each is one knob of the org, all have defaults and are given by name
        self,
        *,
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - the sandbox's own, guards nothing
        username: str = "sandbox@example.com",
        password: str = "sandbox-password",  # noqa: S107 - as above
        refresh_token: str = "sandbox-refresh",  # noqa: S107 - as above
        daily_limit: int = 100_000,
        token_calls: int | None = None,
        token_seconds: float = 7200,
        latency_seconds: float = 0.0,
        rotate_refresh_tokens: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A token lives `token_seconds`, and `token_calls` calls when given; `latency_seconds` is added to each call."""
        self._clock = clock
        self._credentials = Credentials(client_id, client_secret, username, password, refresh_token)
        self._options: dict[str, Any] = {
            "daily_limit": daily_limit,
            "token_calls": token_calls,
            "token_seconds": token_seconds,
            "latency_seconds": latency_seconds,
            "rotate_refresh_tokens": rotate_refresh_tokens,
        }
        self.stats = Stats()
        self._org = self._new_org(self._options)

    def routes(self) -> list[BaseRoute]:
        """The wire protocol, under `/services`."""
        return Api(self._org).routes()

    def records(self, kind: str) -> Iterable[Mapping[str, Any]]:
        """Every record of an object, deleted ones too: its fields flat, lookups as ids."""
        sobject = _object(kind)
        store = self._org.store
        return (store.flat(sobject, each, sobject.fields) for each in store.tables[sobject.name].rows.values())

    def mutate(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change one record; gives it as it is then.

        `{"object", "op": "create" | "update" | "delete" | "undelete", "id" or "key_field" and "key", "fields"}`, with
        the rules of the API: what Salesforce would refuse is a `SandboxRequestError`.
        """
        if not isinstance(change, Mapping) or not isinstance(change.get("fields", {}), Mapping):
            raise SandboxRequestError("a change and its fields are JSON objects")
        sobject = _object(str(change.get("object")))
        store = self._org.store
        try:
            row = dml.read_row(sobject, change.get("fields", {}))
            match change.get("op"):
                case "create":
                    record = dml.insert(store, row)
                case "update":
                    record = self._addressed(sobject, change, deleted=False)
                    dml.update(store, record, row)
                case "delete" | "undelete" as operation:
                    record = self._addressed(sobject, change, deleted=operation == "undelete")
                    store.set_deleted(sobject, record, deleted=operation == "delete")
                case operation:
                    raise SandboxRequestError(f"unknown operation: {operation}")
        except (RowError, JsonTypeError) as error:
            raise SandboxRequestError(str(error)) from error
        return store.flat(sobject, record, sobject.fields)

    def reset(self, options: Mapping[str, Any]) -> None:
        """An empty org, all sessions ended; `options` may override the constructor's of the same names."""
        unknown = options.keys() - self._options.keys()
        if unknown:
            raise SandboxRequestError(f"unknown options: {', '.join(sorted(unknown))}")
        self._org.become(self._new_org(self._options | dict(options)))

    def dump(self) -> dict[str, Any]:
        """Records, the day's calls and the refresh token; sessions and open cursors end with the process."""
        org = self._org
        return {
            "records": org.store.dump(),
            "calls": org.calls,
            "day": org.day,
            "refresh_token": org.tokens.refresh_token,
        }

    def load(self, state: Any) -> None:
        """Take up what `dump` gave; `ValueError` when it was written under another schema."""
        self._org.store.load(state["records"])
        self._org.calls, self._org.day = state["calls"], state["day"]
        self._org.tokens.refresh_token = state["refresh_token"]

    def _new_org(self, options: Mapping[str, Any]) -> Org:
        tokens = Tokens(
            self._credentials,
            clock=self._clock,
            seconds=options["token_seconds"],
            calls=options["token_calls"],
            rotate=options["rotate_refresh_tokens"],
        )
        return Org(
            clock=self._clock,
            daily_limit=options["daily_limit"],
            latency_seconds=options["latency_seconds"],
            store=Store(self._clock),
            tokens=tokens,
            cursors=Cursors(),
            stats=self.stats,
        )

    def _addressed(self, sobject: SObject, change: Mapping[str, Any], *, deleted: bool) -> Record:
        """The record that a change names by id or by key, among the live or the deleted ones."""
        name = str(change.get("key_field", "Id"))
        wanted = change.get("id") if name == "Id" else change.get("key")
        field = sobject.field(name)
        if field is None:
            raise SandboxRequestError(f"unknown field of {sobject.name}: {name}")
        for record in self._candidates(sobject, field, wanted, deleted=deleted):
            if record.deleted == deleted:
                return record
        raise SandboxRequestError(f"no {'deleted' if deleted else 'live'} {sobject.name} with {name} {wanted}")

    def _candidates(self, sobject: SObject, field: Field, wanted: Any, *, deleted: bool) -> Iterable[Record]:
        store = self._org.store
        if field.type == "id":
            found = store.get(sobject, str(wanted))
            return [] if found is None else [found]
        if field.is_key and not deleted:
            return store.find(sobject, field, str(wanted))
        read = store.reader(sobject, field)
        return (record for record in store.tables[sobject.name].rows.values() if read(record) == wanted)


def _object(name: str) -> SObject:
    found = find_object(name)
    if found is None:
        raise SandboxRequestError(f"unknown object: {name}")
    return found
