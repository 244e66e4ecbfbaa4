"""The figures of the store in Prometheus's terms: for the receiver's `/metrics` and for `lms-crm metrics`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from lms_crm_assets.ops.inbox import Inbox
from lms_crm_assets.ops.metrics import CATALOGUE, Figure, figures
from lms_crm_assets.ops.store import OperationalStore

_SWITCHED = "SELECT tenant, switched FROM modes WHERE tenant IN (SELECT tenant FROM systems)"
_OPEN = (
    "SELECT s.tenant, s.side, b.opened_at IS NOT NULL FROM systems s LEFT JOIN breakers b ON b.name = s.address"
    " ORDER BY s.tenant, s.side"
)


class RunFigures(Collector):
    """What runs keep in the store; `more` gives the samples of others of the same names."""

    def __init__(self, store: OperationalStore) -> None:
        self._store = store

    def describe(self) -> Iterable[Family]:
        """Nothing: to register must not read the store."""
        return []

    def collect(self) -> Iterable[Family]:
        """A family of each name, with or without values."""
        return self.families().values()

    def families(self) -> dict[str, Family]:
        """The families by name."""
        crms = dict(self._store.read("SELECT tenant, kind FROM systems WHERE side = 'crm'"))
        found = {name: empty_family(name) for name, metric in CATALOGUE.items() if metric.kept}
        histograms: defaultdict[tuple[str, str], list[Figure]] = defaultdict(list)
        now = self._store.clock()
        lag = empty_family("sync_lag_seconds")
        for figure in figures(self._store):
            labels = _labelled(figure.tenant, crms, figure.labels)
            match CATALOGUE[figure.name].kind:
                case "histogram":
                    own = {name: value for name, value in figure.labels.items() if name != "le"}
                    histograms[figure.name, repr(_labelled(figure.tenant, crms, own))].append(figure)
                case "counter":
                    found[figure.name].add_sample(f"{figure.name}_total", labels, figure.value)
                case "gauge":
                    found[figure.name].add_sample(figure.name, labels, figure.value)
            if figure.name == "last_success_timestamp_seconds":
                lag.add_sample(lag.name, labels, max(0.0, now - figure.value))
        for (name, _), values in histograms.items():
            _add_histogram(found[name], values, crms)
        breaker, mode = empty_family("breaker_open"), empty_family("mode_switched")
        for tenant, side, is_open in self._store.read(_OPEN):
            breaker.add_sample(breaker.name, _labelled(tenant, crms, {"side": side}), float(is_open))
        for tenant, switched in self._store.read(_SWITCHED):
            mode.add_sample(mode.name, _labelled(tenant, crms, {}), float(switched))
        return found | {family.name: family for family in (lag, breaker, mode)}


class InboxFigures(Collector):
    """What waits in the inbox, by tenant."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def describe(self) -> Iterable[Family]:
        """Nothing: to register must not read the inbox."""
        return []

    def collect(self) -> Iterable[Family]:
        """Depth and oldest age by tenant."""
        depth, age, conflicts = map(empty_family, ("inbox_depth", "inbox_oldest_age_seconds", "inbox_conflicts"))
        now = self._inbox.store.clock()
        for tenant, found in self._inbox.depths().items():
            for state in ("pending", "leased", "parked"):
                depth.add_sample(depth.name, {"tenant": tenant, "state": state}, getattr(found, state))
            oldest = 0.0 if found.oldest_at is None else max(0.0, now - found.oldest_at)
            age.add_sample(age.name, {"tenant": tenant}, oldest)
            conflicts.add_sample(f"{conflicts.name}_total", {"tenant": tenant}, found.conflicts)
        return [depth, age, conflicts]


def empty_family(name: str) -> Family:
    """A figure's head, without values."""
    return Family(name, CATALOGUE[name].meaning, CATALOGUE[name].kind)


def _labelled(tenant: str, crms: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    return {"tenant": tenant, "crm": crms.get(tenant, ""), **more}


def _add_histogram(family: Family, values: Iterable[Figure], crms: Mapping[str, str]) -> None:
    by_bound = {figure.labels["le"]: figure for figure in values}
    some = next(iter(by_bound.values()))
    own = {name: value for name, value in some.labels.items() if name != "le"}
    labels = _labelled(some.tenant, crms, own)
    so_far = 0.0
    for bound in (*map(str, CATALOGUE[family.name].buckets), "+Inf"):
        so_far += by_bound[bound].value if bound in by_bound else 0.0
        family.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, so_far)
    family.add_sample(f"{family.name}_count", labels, so_far)
    family.add_sample(f"{family.name}_sum", labels, by_bound["sum"].value if "sum" in by_bound else 0.0)
