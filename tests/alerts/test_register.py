"""Each message once: whoever looks, however often, and whatever the channel does."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lms_crm_assets.alerts.conditions import Findings, Violation
from lms_crm_assets.alerts.look import Look
from lms_crm_assets.alerts.register import Register, due
from lms_crm_assets.alerts.state import Freshness, Since, TenantState
from lms_crm_assets.contract.alerts import AlertKind, Alerts
from tests.ops.clock import Clock, store_with_clock
from tests.postgres import Place
from tests.webhook_catcher import catching

HOUR = 3600.0
DRIFT = Violation(AlertKind.DRIFT, "", "30 records were changed in the CRM", "find out who edits them", "run-1")
AMISS, OVER = Findings((DRIFT,), frozenset()), Findings((), frozenset())
NOT_KNOWN = Findings((), frozenset({(AlertKind.DRIFT, "*")}))


@pytest.fixture
def register(place: Place) -> tuple[Register, Clock]:
    store, clock = store_with_clock(place)
    return Register(store), clock


def test_what_is_amiss_has_one_row_until_it_is_known_to_be_over(register: tuple[Register, Clock]) -> None:
    alerts, clock = register
    for found in (AMISS, AMISS, NOT_KNOWN):
        alerts.note("acme", found)
        clock.now += HOUR
    [alert] = alerts.find("acme")
    assert (alert.kind, alert.since, alert.recovered_at) == ("drift", clock.now - 3 * HOUR, None)
    assert alerts.find("other") == []

    alerts.note("acme", OVER)
    alerts.note("acme", AMISS)

    over, again = alerts.find("acme", recovered_since=0)
    assert (over.number, over.recovered_at, again.since) == (alert.number, clock.now, clock.now)
    alerts.close_others(["acme"])
    alerts.purge(clock.now + 1)
    assert [each.number for each in alerts.find(recovered_since=0)] == [again.number]
    alerts.close_others(["globex"])
    assert alerts.find() == []


def test_of_many_who_look_at_once_one_opens_and_one_sends(place: Place) -> None:
    registers = [Register(place.store()) for _ in range(2)]
    together = threading.Barrier(8)

    def look(n: int) -> bool:
        alerts = registers[n % 2]
        together.wait()
        alerts.note("acme", AMISS)
        [alert] = alerts.find("acme")
        return alerts.claim(alert, "ops", "fired")

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(look, range(8))) == 1


def test_who_is_told_when(register: tuple[Register, Clock]) -> None:
    alerts, clock = register
    alerts.note("acme", AMISS)

    def next_message(reminder: float | None = None) -> str | None:
        [alert] = alerts.find(recovered_since=0)
        return due(alert, "ops", reminder, clock.now)

    def tell(what: str, trouble: str = "") -> None:
        [alert] = alerts.find(recovered_since=0)
        assert alerts.claim(alert, "ops", what)
        if trouble:
            alerts.failed(alert, "ops", what, trouble)
        else:
            alerts.sent(alert, "ops", what)

    tell("fired", "it answers 503")
    assert alerts.tenants_waiting() == ["acme"]
    assert next_message() == "fired"
    # A channel that goes on failing is asked less and less often.
    for _ in range(3):
        tell("fired", "it answers 503")
    assert alerts.tenants_waiting() == []
    clock.now += 61
    assert alerts.tenants_waiting() == ["acme"]
    tell("fired")
    assert (next_message(), alerts.tenants_waiting()) == (None, [])
    clock.now += 25 * HOUR
    assert next_message() is None
    assert next_message(24 * HOUR) == "reminder-1"
    tell("reminder-1")
    assert next_message(24 * HOUR) is None
    clock.now += 24 * HOUR
    assert next_message(24 * HOUR) == "reminder-2"
    alerts.note("acme", OVER)
    assert next_message(24 * HOUR) == "recovered"
    tell("recovered")
    assert next_message(24 * HOUR) is None


def test_a_message_whose_sender_was_killed_is_sent_again_and_its_recovery_too(register: tuple[Register, Clock]) -> None:
    alerts, clock = register
    alerts.note("acme", AMISS)
    [alert] = alerts.find()
    assert alerts.claim(alert, "ops", "fired")
    clock.now += HOUR
    assert alerts.claim(alert, "ops", "fired")
    alerts.note("acme", OVER)
    clock.now += HOUR

    [alert] = alerts.find(recovered_since=0)

    assert due(alert, "ops", None, clock.now) == "recovered"
    assert due(alert, "another", None, clock.now) is None


def test_a_channel_that_fails_is_asked_once_a_look_and_the_others_are_told(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = store_with_clock(place)
    with catching([503]) as broken, catching() as works:
        monkeypatch.setenv("BROKEN", broken.url)
        monkeypatch.setenv("WORKS", works.url)
        (tmp_path / "_alerts.yaml").write_text(
            "channels:\n- {name: broken, to: slack, url: env:BROKEN}\n- {name: works, to: slack, url: env:WORKS}\n"
            "- {name: mute, to: slack, url: env:NOWHERE, kinds: [quota]}\n",
            encoding="utf-8",
        )
        states = [paused("acme", clock), paused("globex", clock)]
        first, second = Look(store, tmp_path), Look(store, tmp_path)
        first.at(states)
        assert (len(broken.caught), len(works.caught)) == (1, 2)
        assert first.troubles == ["broken: it answers 503"]
        second.at(states)

    assert (len(broken.caught), len(works.caught), second.troubles) == (3, 2, [])


def test_what_all_tenants_say_wrongly_is_told_and_a_tenants_own_channels_still_hear(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = store_with_clock(place)
    (tmp_path / "_alerts.yaml").write_text("chanels: []\n", encoding="utf-8")
    with catching() as own:
        monkeypatch.setenv("OWN", own.url)
        alerts = Alerts.model_validate({"channels": [{"name": "own", "to": "slack", "url": "env:OWN"}]})
        look = Look(store, tmp_path)
        look.at([paused("acme", clock, alerts)])

    assert look.troubles == [f"{tmp_path}/_alerts.yaml:1: chanels: there is no key 'chanels' here"]
    assert len(own.caught) == 1


def paused(tenant: str, clock: Clock, alerts: Alerts | None = None) -> TenantState:

    return TenantState(
        tenant,
        datetime.fromtimestamp(clock.now, UTC),
        Freshness(None, None, None, 60),
        alerts=alerts or Alerts(),
        paused=Since(clock.now - 25 * HOUR, "the CRM is being moved"),
    )
