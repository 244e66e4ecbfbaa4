"""Delivery at 300 ms latency: changed contacts, from the plan to the last outcome in the ledger, against what the CRM allows.

A plan that changes three fields of each contact is put into a warehouse of its own and delivered as a run delivers it:
contract, adapter, gate, batches, journal and fold are the product's. Calls and refusals are read from the simulated CRM's
log, the result from its records; every call counts, those for a token too.

HubSpot keeps its limit of 190 calls in any ten seconds. How much of it is used is told by the arrivals: the call that comes
190 n calls after the first may not come before 10 n seconds have passed, and the figure is how late it comes. Beside it
stands the whole delivery, with all that is done before the first call and after the last one, against 19 calls a second.
Salesforce limits no second: there the limit is one that the contract sets, 50 calls in ten seconds, and the same is asked.
Its bulk jobs are switched off for this: they take a handful of calls whatever is sent.
"""

import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import duckdb

from benchmarks.contacts import Contacts, in_hubspot, in_salesforce, key, rest
from benchmarks.results import Figure
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.models import Contract, CrmThrottle, Throttle
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.crm.protocol import CrmAdapter
from lms_crm_assets.demo.sandbox_process import running_sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.snapshot.capture import ensure_snapshot
from lms_crm_assets.sync.convergence import read_back
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.telemetry.logs import for_commands
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import literal

ROOT = Path(__file__).parent.parent
ROUNDS = 3
_HUBSPOT_CALLS, _SALESFORCE_CALLS, _WINDOW_SECONDS = 190, 50, 10.0
SCHOOL = ("--learners", "10", "--enrollments", "10", "--courses", "2")
# Three windows' worth of calls, so that two have to be waited for.
_WINDOWS = 3
_REFUSALS = {403, 429}
_MOST_REFUSED, _MOST_CALLS, _LEAST_OF_RATE = 0.02, 1.02, 0.97


@dataclass(frozen=True)
class Delivered:
    """One delivery: its seconds, and those of reading back; the calls of each as the CRM saw them; records not as planned."""

    seconds: float
    calls: list[dict[str, Any]]
    back_seconds: float
    back_calls: int
    wrong: int

    @property
    def refused(self) -> int:
        """Calls that the CRM refused for its limits."""
        return sum(call["status"] in _REFUSALS for call in self.calls)

    def beside_the_limit(self, window_calls: int) -> float:
        """How long whole windows of so many calls took, beside ten seconds each."""
        arrivals = [call["at"] for call in self.calls if call["status"] not in _REFUSALS]
        windows = (len(arrivals) - 1) // window_calls
        return float((arrivals[windows * window_calls] - arrivals[0]) / (windows * _WINDOW_SECONDS))


class Tenant:
    """The example tenant of one simulated CRM, with a state folder of its own."""

    def __init__(
        self, contacts: Contacts, folder: Path, calls_per_10_seconds: int | None = None, **destination: Any
    ) -> None:
        contract = load_contract(ROOT / "tenants", contacts.tenant)
        changes: dict[str, Any] = {"destination": contract.destination.model_copy(update=destination)}
        if calls_per_10_seconds is not None:
            changes["throttle"] = Throttle(crm=CrmThrottle(calls_per_10_seconds=calls_per_10_seconds))
        self._contract: Contract = contract.model_copy(update=changes)
        self._spec: ObjectSpec = object_spec(contract, CrmObject.CONTACT)
        self._contacts = contacts
        self._folder = folder
        # One for all rounds: the CRM's windows know of the round before, and so must we.
        self._store = OperationalStore.at(folder)
        self._runs = 0

    def deliver(self, numbers: range, word: str) -> Delivered:
        """Deliver a plan that gives these contacts the values of that word, and read it back."""
        self._runs += 1
        name = f"r{self._runs}"
        file = self._folder / f"{name}.duckdb"
        with connect(file) as con:
            _plan(con, self._spec, name, self._contacts, numbers, word)
        with closing(crm_adapter(self._contract, self._store)) as crm:
            delivery = Delivery(crm, self._spec, name, lambda: connect(file), self._folder / "sync", name)
            before, started = self._contacts.last_call(), monotonic()
            delivery.run()
            seconds, calls = monotonic() - started, self._contacts.log(before)
            back_seconds, back_calls = self._read_back(crm, delivery)
        wrong = len(numbers) - self._contacts.held(numbers, word)
        return Delivered(seconds, calls, back_seconds, back_calls, wrong)

    def _read_back(self, crm: CrmAdapter, delivery: Delivery) -> tuple[float, int]:
        before, started = self._contacts.last_call(), monotonic()
        plan_id, folder = delivery.plan_id, delivery.folder
        read_back(crm, self._spec, plan_id, plan_id, delivery.open_warehouse, folder)
        return monotonic() - started, self._contacts.last_call() - before


def measure() -> list[Figure]:
    """Deliver to both, three times each, and give the figures."""
    for_commands()
    with tempfile.TemporaryDirectory() as name, running_sandbox(SCHOOL) as sandbox:
        os.environ.update(sandbox.environ())
        folder = Path(name)
        hubspot, salesforce = in_hubspot(sandbox), in_salesforce(sandbox)
        # Bulk jobs from more on than are sent.
        throttled = Tenant(salesforce, folder / "salesforce", _SALESFORCE_CALLS, bulk_from=1_000_000)
        return [
            *_figures("HubSpot", hubspot, Tenant(hubspot, folder / "hubspot"), _HUBSPOT_CALLS),
            *_figures("Salesforce", salesforce, throttled, _SALESFORCE_CALLS),
        ]


def _figures(name: str, contacts: Contacts, tenant: Tenant, window_calls: int) -> list[Figure]:
    batches = _WINDOWS * window_calls
    numbers, rate = range(batches * contacts.batch_size), window_calls / _WINDOW_SECONDS
    contacts.be_quick()
    contacts.hold(numbers, "Old")
    ceiling = contacts.hold(numbers, "Older", at_once=8)
    enough = "" if ceiling > 2 * rate else ": this machine is too busy to tell anything by it"
    print(f"the simulated {name} takes {ceiling:.0f} calls a second, {rate:.0f} are needed{enough}", flush=True)
    contacts.be_real()
    rounds = []
    for number in range(ROUNDS):
        rounds.append(_told(name, tenant.deliver(numbers, f"Round {number}")))
        rest()  # reading back has used a part of the window
    what = f"delivery of {len(numbers):,} contacts to {name} at 300 ms"
    return [
        Figure(
            f"{what}: time of {window_calls} calls beside 10 s (1.03 is 97 % of the rate)",
            median(each.beside_the_limit(window_calls) for each in rounds),
            1 / _LEAST_OF_RATE,
            "×",
        ),
        Figure(
            f"{what}: time from plan to ledger beside {rate:.0f} calls a second",
            median(each.seconds for each in rounds) / (batches / rate),
            1 / _LEAST_OF_RATE,
            "×",
        ),
        Figure(f"{what}: calls beside full batches", max(len(r.calls) for r in rounds) / batches, _MOST_CALLS, "×"),
        Figure(
            f"{what}: calls refused for the rate",
            max(each.refused / len(each.calls) for each in rounds) * 100,
            _MOST_REFUSED * 100,
            "%",
        ),
        Figure(f"{what}: records that disagree", sum(each.wrong for each in rounds), 0, "records"),
    ]


def _told(name: str, each: Delivered) -> Delivered:
    print(
        f"{name}: {each.seconds:.1f} s, {len(each.calls)} calls, {each.refused} refused; read back in"
        f" {each.back_seconds:.1f} s by {each.back_calls} calls",
        flush=True,
    )
    return each


def _plan(
    con: duckdb.DuckDBPyConnection, spec: ObjectSpec, name: str, contacts: Contacts, numbers: range, word: str
) -> None:
    """An approved plan that changes three fields of each contact, in a warehouse that knows the contacts."""
    ensure_snapshot(con, spec)
    con.execute(
        "CREATE TEMP TABLE wanted AS SELECT unnest($1) AS external_id, unnest($2) AS new_values",
        [[key(n) for n in numbers], [list(contacts.values(n, word).values()) for n in numbers]],
    )
    con.execute(
        f"INSERT INTO crm_snapshot.{spec.object} BY NAME"
        " SELECT external_id, external_id AS crm_id, now() AS captured_at FROM wanted"
    )
    con.execute("CREATE TABLE delta.desired_contact AS SELECT external_id, now() AS mapped_at FROM wanted")
    con.execute(
        "INSERT INTO delta.plans (plan_id, sync_run_id, status, created_at, forecast, breaches, sent, lane)"
        " VALUES ($1, $1, 'approved', now(), '{}', [], [], 'full')",
        [name],
    )
    changes = ", ".join(
        f"{{'field': {literal(field)}, 'old': 'Old', 'new': new_values[{place}], 'owner': 'enforce', 'written': true,"
        " 'class': 'ours'}"
        for place, field in enumerate(contacts.fields, 1)
    )
    con.execute(
        f"INSERT INTO delta.plan_rows SELECT $1, {literal(spec.object)}, external_id, external_id, 'update', 'ours',"
        f" [{changes}], MAP {{}}, MAP {{}} FROM wanted",
        [name],
    )
