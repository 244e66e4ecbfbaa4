"""The figures of runs: kept by short processes, shown by a long one."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lms_crm_assets.ops.breaker import FAILING_CALLS, Breaker
from lms_crm_assets.ops.exposition import RunFigures
from lms_crm_assets.ops.metrics import CATALOGUE, Tally, note_systems
from lms_crm_assets.ops.store import OperationalStore
from tests.postgres import Place

CRM = "https://api.example.org"


def shown(store: OperationalStore) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(RunFigures(store))
    text = generate_latest(registry).decode()
    assert text.count("# TYPE http_request_duration_seconds ") == 1
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_what_several_runs_count_is_one_figure_and_a_gauge_is_the_last_ones(place: Place) -> None:
    stores, globex = [place.store(), place.store()], {"tenant": "globex", "crm": "hubspot"}
    assert shown(stores[0]) == {}
    for store, seconds in zip(stores, (0.3, 7.0), strict=True):
        note_systems(store, "globex", {"lms": ("changes", "https://lms.example.org"), "crm": ("hubspot", CRM)})
        tally = Tally()
        tally.add("records_created", 200, object="contact")
        tally.add("records_created", 0, object="course")
        tally.put("quota_used_calls", seconds)
        tally.called("crm", "ok", seconds)
        tally.called("crm", "rate_limited", 0.01)
        tally.save(store, "globex")
        tally.save(store, "globex")

    told = shown(stores[0])
    assert told[of("records_created_total", **globex, object="contact")] == 400
    assert told[of("records_created_total", **globex, object="course")] == 0
    assert told[of("quota_used_calls", **globex)] == 7.0
    assert told[of("http_requests_total", **globex, side="crm", status="ok")] == 2
    assert told[of("rate_limited_total", **globex, side="crm")] == 2
    calls = {**globex, "side": "crm", "status": "ok"}
    for le, number in (("0.25", 0), ("0.5", 1), ("5.0", 1), ("10.0", 2), ("+Inf", 2)):
        assert told[of("http_request_duration_seconds_bucket", **calls, le=le)] == number, le
    assert told[of("http_request_duration_seconds_count", **calls)] == 2
    assert told[of("http_request_duration_seconds_sum", **calls)] == pytest.approx(7.3)


def test_what_is_kept_by_address_is_shown_by_tenant(place: Place) -> None:
    store = place.store()
    for tenant in ("acme", "globex"):
        note_systems(store, tenant, {"lms": ("moodle", f"https://{tenant}"), "crm": ("hubspot", CRM)})
    for _ in range(FAILING_CALLS):
        Breaker(store, CRM).failed()
    tally = Tally()
    tally.put("last_success_timestamp_seconds", store.clock() - 3600)
    tally.save(store, "acme")

    told = shown(store)
    for tenant in ("acme", "globex"):
        assert told[of("breaker_open", tenant=tenant, crm="hubspot", side="crm")] == 1
        assert told[of("breaker_open", tenant=tenant, crm="hubspot", side="lms")] == 0
    assert told[of("sync_lag_seconds", tenant="acme", crm="hubspot")] == pytest.approx(3600, abs=5)
    # Another CRM is another system.
    note_systems(store, "acme", {"lms": ("moodle", "https://acme"), "crm": ("salesforce", "https://org.example.org")})
    assert shown(store)[of("breaker_open", tenant="acme", crm="salesforce", side="crm")] == 0


def test_only_what_the_catalogue_knows_is_counted() -> None:
    tally = Tally()
    mistakes: list[Callable[[], None]] = [
        lambda: tally.add("records_created"),
        lambda: tally.add("records_created", object="contact", email="x"),
        lambda: tally.put("records_created", 1, object="contact"),
        lambda: tally.put("inbox_depth", 1, state="pending"),
    ]
    for wrong in mistakes:
        with pytest.raises(ValueError, match="with the labels"):
            wrong()
    allowed = {"object", "status", "side", "lane", "state", "result"}
    assert {label for metric in CATALOGUE.values() for label in metric.labels} <= allowed
