"""The simulator as the sandbox's core runs it."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.routing import BaseRoute

from lms_crm_assets.sandbox.core import Stats

from .auth import Credentials, Tokens
from .bulk import Jobs
from .cursors import Cursors
from .describe import describe_field
from .guard import Guard
from .mutations import mutate, named_object
from .options import Options
from .org import Org
from .reshaping import reshape
from .rest import Api
from .schema import Schema
from .store import Store


class SalesforceSimulator:
    """A strict Salesforce org over HTTP: OAuth, describe, records, Collections, composite, SOQL, bulk jobs, limits."""

    name = "salesforce"
    lists_fewer = False

    def __init__(
        self,
        *,
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - the sandbox's own, guards nothing
        username: str = "sandbox@example.com",
        password: str = "sandbox-password",  # noqa: S107 - as above
        refresh_token: str = "sandbox-refresh",  # noqa: S107 - as above
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        """`options` are those of `Options`: a token lives `token_seconds`, each call takes `latency_seconds` and so on."""
        self._clock = clock
        self._credentials = Credentials(client_id, client_secret, username, password, refresh_token)
        self._initial = options
        self.stats = Stats()
        self._org = self._new_org({})

    def routes(self) -> list[BaseRoute]:
        """The wire protocol, under `/services`."""
        return Api(self._org).routes()

    def records(self, kind: str) -> Iterable[Mapping[str, Any]]:
        """Every record of an object, deleted ones too: its fields flat, lookups as ids."""
        store = self._org.store
        sobject = named_object(store, kind)
        # A list of the records, for they may change while an answer is sent; each is shown when its turn comes.
        return map(store.flattener(sobject, sobject.fields), list(store.tables[sobject.name].rows.values()))

    def mutate(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change one record behind the clients' backs; see `mutations.mutate`."""
        return mutate(self._org.store, self._org.guard, change)

    def reshape(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change the schema as an administrator does; gives the object's fields as the user sees them then."""
        org = self._org
        reshape(org.store, change)
        org.cursors = Cursors()  # a query that has begun knows the old schema
        sobject = org.store.schema.find(str(change["object"]))
        fields = [] if sobject is None else [describe_field(sobject, each) for each in sobject.fields]
        return {"object": change["object"], "visible": sobject is not None, "fields": fields}

    def configure(self, options: Mapping[str, Any]) -> None:
        """Change options of `Options` and leave records, sessions and jobs as they are."""
        self._org.options.change(options)

    def reset(self, options: Mapping[str, Any]) -> None:
        """An empty org, all sessions ended; `options` may override the constructor's of the same names."""
        fresh = self._new_org(options)
        self._org.jobs.close()
        self._org.become(fresh)

    def pass_day(self, seconds: float, calls: int) -> Mapping[str, int]:
        """Move the clock of the day's limits on, and let others use calls; sessions and records keep the real time."""
        return self._org.pass_day(seconds, calls)

    def dump(self) -> dict[str, Any]:
        """Schema, records, what was used up of the day and the refresh tokens; sessions, open cursors and jobs end with the process."""
        org = self._org
        return {
            "schema": org.store.schema.dump() if org.store.schema.version else None,
            "records": org.store.dump(),
            "calls": org.calls,
            "batches": org.batches,
            "query_jobs": org.query_jobs,
            "day": org.day,
            "refresh_token": org.tokens.refresh_token,
            "approved": org.tokens.approved,
        }

    def load(self, state: Any) -> None:
        """Take up what `dump` gave; `ValueError` when it was written under another schema."""
        if state.get("schema") is not None:
            self._org.store.restore(Schema.load(state["schema"]))
        self._org.store.load(state["records"])
        self._org.calls, self._org.day = state["calls"], state["day"]
        self._org.batches, self._org.query_jobs = state.get("batches", 0), state.get("query_jobs", 0)
        self._org.tokens.refresh_token = state["refresh_token"]
        self._org.tokens.approved = list(state.get("approved", []))

    def _new_org(self, changed: Mapping[str, Any]) -> Org:
        options = Options.of(self._initial | dict(changed))
        return Org(
            clock=self._clock,
            options=options,
            store=Store(self._clock),
            guard=Guard(options, self._clock),
            tokens=Tokens(self._credentials, options, self._clock),
            cursors=Cursors(),
            jobs=Jobs(),
            stats=self.stats,
        )
