"""What the receiver counts, and all that `/metrics` shows. Labels are tenants, routes and words of ours, never what was sent."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms_crm_assets.ops.exposition import InboxFigures, RunFigures, empty_family
from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.metrics import CATALOGUE
from lms_crm_assets.ops.store import OperationalStore

_DURATION = "http_request_duration_seconds"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The receiver's figures since it started, the inbox's as it is, and those that runs keep in the store."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        deliveries = CATALOGUE["deliveries"]
        self._deliveries = Counter(
            deliveries.name, deliveries.meaning, ["tenant", *deliveries.labels], registry=self.registry
        )
        self._calls = _AllCalls()
        self.registry.register(self._calls)

    def count(self, tenant: str, side: str, result: str) -> None:
        """One delivery more."""
        self._deliveries.labels(tenant, side, result).inc()

    def measured(self, scope: Scope, status: int, began: float) -> None:
        """One request more, that began at that moment of `time.perf_counter`."""
        route = getattr(scope.get("route"), "path", "none")
        self._calls.received.labels("receiver", route, status).observe(time.perf_counter() - began)

    def watch(self, inbox: Inbox, store: OperationalStore) -> None:
        """Tell the inbox's depth and the runs' figures whenever somebody asks."""
        self.registry.register(InboxFigures(inbox))
        self._calls.runs = RunFigures(store)


class _AllCalls(Collector):
    """The figures of runs, with the receiver's own requests among the calls of both sides: one name, one family."""

    def __init__(self) -> None:
        self.runs: RunFigures | None = None
        self.received = Histogram(
            _DURATION, CATALOGUE[_DURATION].meaning, ["side", "route", "status"], buckets=_BUCKETS, registry=None
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register must not read the store."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All families; without a store the receiver's own alone."""
        families = self.runs.families() if self.runs is not None else {_DURATION: empty_family(_DURATION)}
        for family in self.received.collect():
            # When a series began is told for those of this process alone.
            families[_DURATION].samples += [each for each in family.samples if not each.name.endswith("_created")]
        return families.values()


class Measured:
    """Measures each request, by the template of its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and look at the answer's head."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.measured(scope, status, began)
