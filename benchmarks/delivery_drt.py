"""The same 10,000 changed contacts to HubSpot and to Salesforce, at 300 ms latency: ours beside drt's (the package drt-core).

Both get to know which contacts changed and how: ours by a plan (see `delivery`), drt by a table of its source that holds
those contacts alone. Both write three fields of each. Calls are those in the simulated CRM's log, with those for a token and
to ask how far a job is; what became of the contacts is read from the CRM's records.

drt is set up as its documentation says, and as quick as it can be:
- HubSpot: contacts are matched by `email`. It writes one record a call, whatever `batch_size` is. Its default policy tries to
  create each contact before it changes it; since all are there `match_policy: update_only` spares it that call. `batch_size` is
  all records, so that it keeps one connection. With several syncs at once it would still make no more than 9 calls a second.
- Salesforce: one Bulk API 2.0 job, entered by user name and password, the only way it knows. `poll_interval_seconds` is 1
  instead of 30.
To HubSpot 10,000 contacts would take drt an hour: it is given 100, and its figures are scaled by the record. It is timed by
the CRM's log, from its first call to its last answer, so that its start costs it nothing; ours from the plan to the ledger.
To Salesforce both make one bulk job of some calls, and neither can win much: the goals are for both CRMs together, to which
the same contacts go, and what each takes for each CRM is printed.

Reading back what was written, which ours does after each delivery and drt never, is not in the figures; it is printed.
"""

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks import peers
from benchmarks.contacts import LATENCY_SECONDS, Contacts, email, in_hubspot, in_salesforce, key
from benchmarks.delivery import ROUNDS, SCHOOL, Delivered, Tenant
from benchmarks.results import Figure
from lms_crm_assets.demo.sandbox_process import running_sandbox
from lms_crm_assets.telemetry.logs import for_commands

CONTACTS = 10_000
_DRT_TO_HUBSPOT = 100
_FEWER_CALLS, _SOONER = 50, 10
_SOURCE = "contacts.sqlite"
_RUN = Path(__file__).with_name("drt_run.py")


@dataclass(frozen=True)
class Took:
    """Calls and seconds of delivering all contacts."""

    calls: float
    seconds: float

    def __add__(self, other: "Took") -> "Took":
        return Took(self.calls + other.calls, self.seconds + other.seconds)


def measure() -> list[Figure]:
    """Deliver by both to both, three times in turn, and give the figures."""
    for_commands()
    with tempfile.TemporaryDirectory() as name, running_sandbox(SCHOOL) as sandbox:
        os.environ.update(sandbox.environ())
        folder, crms = Path(name), (in_hubspot(sandbox), in_salesforce(sandbox))
        drt = Drt(folder / "drt", *crms)
        ours, theirs = Took(0, 0), Took(0, 0)
        for crm, given in zip(crms, (_DRT_TO_HUBSPOT, CONTACTS), strict=True):
            crm.be_quick()
            crm.hold(range(CONTACTS), "Old")
            crm.be_real()
            tenant = Tenant(crm, folder / crm.system)
            of_ours, of_drt = [], []
            for number in range(ROUNDS):
                of_drt.append(drt.deliver(crm.system, range(given), f"Drt {number}"))
                of_ours.append(tenant.deliver(range(CONTACTS), f"Ours {number}"))
            ours += _told(f"ours to {crm.system}", [_took(each, crm.system) for each in of_ours])
            theirs += _told(f"drt {peers.VERSIONS['drt-core']} to {crm.system}", of_drt)
            back = median(each.back_seconds for each in of_ours)
            print(f"reading back, which only ours does: {of_ours[0].back_calls} calls, {back:.1f} s")
    name = f"{CONTACTS:,} changed contacts to HubSpot and to Salesforce, both together, beside drt"
    return [
        Figure(f"{name}: calls", 100 * ours.calls / theirs.calls, 100 / _FEWER_CALLS, "%"),
        Figure(f"{name}: time", 100 * ours.seconds / theirs.seconds, 100 / _SOONER, "%"),
    ]


def _took(delivered: Delivered, system: str) -> Took:
    if delivered.wrong:
        raise RuntimeError(f"{delivered.wrong} contacts in {system} are not as planned")
    return Took(len(delivered.calls), delivered.seconds)


def _told(who: str, rounds: Sequence[Took]) -> Took:
    """The median of some rounds, printed."""
    took = Took(median(each.calls for each in rounds), median(each.seconds for each in rounds))
    print(f"{who}: {took.calls:,.0f} calls, {took.seconds:,.1f} s", flush=True)
    return took


class Drt:
    """A drt project of its own in `folder`, with one sync to each CRM."""

    def __init__(self, folder: Path, hubspot: Contacts, salesforce: Contacts) -> None:
        self._folder, self._crms = folder, {crm.system: crm for crm in (hubspot, salesforce)}
        profiles = {"local": {"type": "sqlite", "database": str(folder / _SOURCE)}}
        self._write("drt_project.yml", {"name": "contacts", "version": "0.1", "profile": "local"})
        self._write(".drt/profiles.yml", profiles)
        for crm, destination, options in (
            (hubspot, _HUBSPOT, {"match_policy": "update_only"}),
            (salesforce, _SALESFORCE | {"instance_url": salesforce.address}, {}),
        ):
            sync = {"mode": "full", "batch_size": CONTACTS, "on_error": "skip", **options}
            model = f"SELECT * FROM {crm.system}"
            self._write(
                f"syncs/{crm.system}.yml",
                {"name": crm.system, "model": model, "destination": destination, "sync": sync},
            )

    def deliver(self, system: str, numbers: range, word: str) -> Took:
        """Have it give these contacts the values of that word; scaled to all contacts."""
        crm = self._crms[system]
        self._fill(crm, numbers, word)
        before = crm.last_call()
        subprocess.run(
            [str(peers.python()), str(_RUN), self._crms["hubspot"].address, "run", "--select", system],
            cwd=self._folder,
            env=os.environ | _ENVIRON | {"HOME": str(self._folder)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        calls = crm.log(before)
        if (held := crm.held(numbers, word)) != len(numbers):
            raise RuntimeError(f"drt delivered {held} of {len(numbers)} contacts to {system}: it is set up wrongly")
        share = CONTACTS / len(numbers)
        seconds = calls[-1]["at"] - calls[0]["at"] + LATENCY_SECONDS
        return Took(len(calls) * share, seconds * share)

    def _fill(self, crm: Contacts, numbers: range, word: str) -> None:
        columns = [crm.key, crm.email, *crm.fields]
        rows = [[key(n), email(n), *crm.values(n, word).values()] for n in numbers]
        with closing(sqlite3.connect(self._folder / _SOURCE)) as con, con:
            con.execute(f"DROP TABLE IF EXISTS {crm.system}")
            con.execute(f"CREATE TABLE {crm.system} ({', '.join(columns)})")
            con.executemany(f"INSERT INTO {crm.system} VALUES (?, ?, ?, ?, ?)", rows)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        file = self._folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content), encoding="utf-8")


_HUBSPOT = {
    "type": "hubspot",
    "object_type": "contacts",
    "id_property": "email",
    "auth": {"type": "bearer", "token_env": "HUBSPOT_TOKEN"},
}
_SALESFORCE = {
    "type": "salesforce_bulk",
    "object_name": "Contact",
    "operation": "upsert",
    "external_id_field": "LMS_User_Id__c",
    "client_id_env": "SF_CLIENT_ID",
    "client_secret_env": "SF_CLIENT_SECRET",
    "username_env": "SF_USERNAME",
    "password_env": "SF_PASSWORD",
    "poll_interval_seconds": 1,
}
_ENVIRON = {
    "DO_NOT_TRACK": "1",
    "HUBSPOT_TOKEN": "pat-sandbox",
    "SF_CLIENT_ID": "sandbox-client",
    "SF_CLIENT_SECRET": "sandbox-secret",
    "SF_USERNAME": "sandbox@example.com",
    "SF_PASSWORD": "sandbox-password",
}
