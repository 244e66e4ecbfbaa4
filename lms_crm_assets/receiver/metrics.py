"""What the receiver counts, in a registry of its own. Labels are tenants, routes and words of ours, never what was sent."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms_crm_assets.ops.inbox import Inbox

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The receiver's figures since it started, and the inbox's as it is."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._deliveries = Counter(
            "deliveries",
            "Deliveries by what became of them; those of no tenant have an empty one.",
            ["tenant", "side", "result"],
            registry=self.registry,
        )
        self.requests = Histogram(
            "http_request_duration_seconds",
            "From the head's end to the answer's.",
            ["route", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def count(self, tenant: str, side: str, result: str) -> None:
        """One delivery more."""
        self._deliveries.labels(tenant, side, result).inc()

    def measured(self, scope: Scope, status: int, began: float) -> None:
        """One request more, that began at that moment of `time.perf_counter`."""
        route = getattr(scope.get("route"), "path", "none")
        self.requests.labels(route, status).observe(time.perf_counter() - began)

    def watch(self, inbox: Inbox) -> None:
        """Tell the inbox's depth whenever somebody asks."""
        self.registry.register(_InboxFigures(inbox))


class _InboxFigures(Collector):
    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register must not read the inbox."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Depth and oldest age by tenant."""
        depth = GaugeMetricFamily("inbox_depth", "Events that are not done.", labels=["tenant", "state"])
        age = GaugeMetricFamily(
            "inbox_oldest_age_seconds", "How long the oldest pending or leased event waits.", labels=["tenant"]
        )
        conflicts = CounterMetricFamily("inbox_conflicts", "Known ids with other content.", labels=["tenant"])
        now = self._inbox.store.clock()
        for tenant, found in self._inbox.depths().items():
            for state in ("pending", "leased", "parked"):
                depth.add_metric([tenant, state], getattr(found, state))
            age.add_metric([tenant], 0.0 if found.oldest_at is None else max(0.0, now - found.oldest_at))
            conflicts.add_metric([tenant], found.conflicts)
        return [depth, age, conflicts]


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
