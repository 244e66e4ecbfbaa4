"""`python -m benchmarks.tenants [TENANTS]`: a day of a thousand tenants, each with the daily quota of its CRM held.

Real HTTP against the sandbox's HubSpot portals (190 or 100 calls in 10 s, 250,000 a day) and Salesforce orgs (100,000 a
day), one account a tenant but for every tenth, of which five share one. Sizes, rates of change and shares of the quota
differ; of some the account's other programs use up nearly all that the contract leaves, before the first plan or after it.
Four runs a tenant: the first load at 2:00, what changed at 10:00 and 18:00, and the next day's full one. Between them the
clock jumps, that of the operational store and that of the accounts' days; within a run nothing is simulated but the LMS,
whose rows are staged. Judged from the accounts' logs, counters and records.
"""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import structlog

from benchmarks.capacity import Crm
from benchmarks.results import Figure, show
from benchmarks.tenant_day import Member, Run, Told, pass_day
from benchmarks.tenant_mix import DAILY, population
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.settings import Settings
from tests.chaos.judge import Verdict, judged
from tests.chaos.school import staged

TENANTS = 1_000
# Two cores; threads for what waits for a CRM.
_PROCESSES, _THREADS = 2, 4
_CHUNK = 20
_HOURS = (0, 8, 8, 8)
_ENVIRON = {
    "ACME_LMS_URL": "http://127.0.0.1:1",
    "ACME_LMS_TOKEN": "none",
    "ACME_CRM_CLIENT_ID": "sandbox-client",
    "ACME_CRM_CLIENT_SECRET": "sandbox-secret",
    "ACME_CRM_URL": "http://127.0.0.1:1",
    "GLOBEX_LMS_URL": "http://127.0.0.1:1",
    "GLOBEX_LMS_TOKEN": "none",
    "GLOBEX_CRM_URL": "http://127.0.0.1:1",
    "GLOBEX_CRM_TOKEN": "pat-sandbox",
}
# What a run may overshoot its share by: calls that were under way when an answer told how much others had used.
_UNDER_WAY = 20


@dataclass
class Worker:
    """A process that runs tenants; the store's clock is ahead by so many seconds."""

    settings: Settings
    ahead: float

    def run(self, members: Sequence[Member], edition: int, *, full: bool) -> list[Told]:
        """Run some, several at once."""
        store = _store(self.settings)
        store.clock = lambda: time.time() + self.ahead
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(partial(self._one, store, edition=edition, full=full), members))

    def _one(self, store: OperationalStore, member: Member, *, edition: int, full: bool) -> Told:
        warehouse = member.warehouse(self.settings)
        member.move(warehouse, edition)
        return Run(self.settings, store, member).run(full=full, burst=edition == 0)

    def judge(self, members: Sequence[Member]) -> list[Verdict]:
        """What the CRM holds of each tenant against its LMS."""
        return [self._verdict(member) for member in members]

    def _verdict(self, member: Member) -> Verdict:
        rows = staged(member.warehouse(self.settings), member.entities)
        found = judged(member.crm, member.address, rows)
        # What is too much in an account that five share is the others'.
        return Verdict(found.lost, 0, found.wrong) if member.is_shared else found


_stores: dict[Path, OperationalStore] = {}


def _store(settings: Settings) -> OperationalStore:
    if settings.state_dir not in _stores:
        _stores[settings.state_dir] = OperationalStore(settings.state_dir)
    return _stores[settings.state_dir]


@dataclass
class Day:
    """What came of the runs, by tenant, and how much of each account's day was used."""

    told: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    used: list[dict[str, dict[str, int]]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main(number: int = TENANTS) -> None:
    """Simulate, judge, show, and say by the exit code whether the goals are met."""
    os.environ.update(_ENVIRON)
    accounts = {"hubspot": (number + 1) // 2, "salesforce": number // 2}
    with tempfile.TemporaryDirectory(prefix="lms-crm-tenants-") as folder, _accounts(Path(folder), **accounts) as found:
        settings = Settings(Path(folder) / "tenants", Path(folder) / "state")
        settings.tenants_dir.mkdir()
        members = population(number, found)
        for member in members:
            member.write_contract(settings.tenants_dir)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(_PROCESSES, context, initializer=_quiet) as pool:
            day = _live(pool, settings, members)
            chunks = _chunks(members)
            verdicts = [each for part in pool.map(Worker(settings, 0.0).judge, chunks) for each in part]
        wrong = dict(zip([m.name for chunk in chunks for m in chunk], verdicts, strict=True))
        store = (settings.state_dir / "ops.sqlite").stat().st_size / 2**20
        kept = sum(file.stat().st_size for file in (settings.state_dir / "warehouse").iterdir()) / 2**20
        figures = _figures(members, day, wrong)
    print(f"slots: {[round(s) for s in day.seconds]} s; operational store {store:.1f} MiB, warehouses {kept:,.0f} MiB")
    show(figures)
    sys.exit(not all(figure.ok for figure in figures))


def _quiet() -> None:
    """A million lines of log would be measured too."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _live(pool: ProcessPoolExecutor, settings: Settings, members: list[Member]) -> Day:
    """The day, and the next day's first run."""
    day, ahead = Day(), 0.0
    by_address = {member.address: member for member in members}
    with ThreadPoolExecutor(8) as clocks:
        start = _seconds_until(2)
        list(clocks.map(lambda address: pass_day(address, seconds=start), by_address))
        ahead += start
        for member in by_address.values():
            if member.crm == "hubspot":  # whose day begins now; some have a small subscription's rate
                options = {"daily_limit": DAILY["hubspot"]} | (
                    {"requests_per_10_seconds": 100} if member.is_shared else {}
                )
                httpx.post(f"{member.address}/_sandbox/reset", json=options, timeout=60).raise_for_status()
            pass_day(member.address, share=member.others)
        for edition, hours in enumerate(_HOURS):
            list(clocks.map(lambda address, s=hours * 3600: pass_day(address, seconds=s), by_address))
            ahead += hours * 3600
            began = time.monotonic()
            run = partial(Worker(settings, ahead).run, edition=edition, full=edition in {0, len(_HOURS) - 1})
            for part in pool.map(run, _chunks(members)):
                for told in part:
                    day.told[told.name].append(told)
            day.seconds.append(time.monotonic() - began)
            day.used.append(dict(zip(by_address, clocks.map(pass_day, by_address), strict=True)))
            held = sum(bool(told[-1].held or told[-1].trouble) for told in day.told.values())
            print(f"run {edition + 1}: {day.seconds[-1]:.0f} s, {held} tenants held back", flush=True)
    return day


def _figures(members: list[Member], day: Day, wrong: dict[str, Verdict]) -> list[Figure]:
    number = len(members)
    logs = {m.address: _log(m.address) for m in {m.address: m for m in members}.values()}
    crm_of = {member.address: member.crm for member in members}
    statuses = {crm: Counter(s for a, log in logs.items() if crm_of[a] == crm for s in log.values()) for crm in DAILY}
    print({crm: dict(found) for crm, found in statuses.items()})
    ends = (day.used[2], day.used[3])
    refused = sum(used["used"] >= used["allowed"] for end in ends for used in end.values())
    refused += statuses["salesforce"][403]
    beyond = max(_beyond(members, address, ends[0][address], len(logs[address])) for address in crm_of)
    untold = [
        name
        for name, runs in day.told.items()
        for told in runs
        if (told.undelivered or told.differing) and not (told.held or told.trouble)
    ]
    idle = [name for name, runs in day.told.items() if not any(told.delivered for told in runs)]
    late = [name for name, runs in day.told.items() if runs[-1].held or runs[-1].trouble]
    off = {name: verdict for name, verdict in wrong.items() if verdict != Verdict()}
    for name in (*late[:3], *list(off)[:3]):
        print(name, off.get(name), day.told[name])
    held = Counter(_kind(told) for runs in day.told.values() for told in runs if told.held or told.trouble)
    print(f"held back: {dict(held)}; calls {sum(map(len, logs.values())):,}")
    limited, calls = statuses["hubspot"][429], sum(statuses["hubspot"].values())
    whole = [told for runs in day.told.values() for told in runs if not (told.held or told.trouble)]
    against = sum(told.calls for told in whole) / sum(told.reckoned for told in whole)
    print(f"calls of {len(whole):,} runs: {against:.3f} x what the model reckons")
    what = f"a day of {number:,} tenants"
    return [
        Figure(f"{what}: answers that the day's calls are used up", refused, 0, "answers"),
        Figure(f"{what}: calls beyond a contract's share, the most of an account", beyond, _UNDER_WAY, "calls"),
        Figure(f"{what}: HubSpot's 429s", 100 * limited / max(1, calls), 2, "% of calls"),
        Figure(f"{what}: runs that left records and did not say why", len(untold), 0, "runs"),
        Figure(f"{what}: tenants that never got their turn", len(idle), 0, "tenants"),
        Figure(f"{what}: tenants still held back on the next day", len(late), 0, "tenants"),
        Figure(f"{what}: tenants whose CRM disagrees on the next day", len(off), 0, "tenants"),
        Figure(f"{what}: calls of its runs against the model's", max(against, 1 / against), 1.1, "×"),
    ]


def _beyond(members: list[Member], address: str, used: dict[str, int], ours: int) -> int:
    """How many of our calls of the first day lie beyond what the contract with the largest share allows."""
    share = max(member.quota_share for member in members if member.address == address)
    return max(0, min(ours, used["used"] - int(share * used["allowed"])))


def _kind(told: Told) -> str:
    return "by a guardrail" if told.held else told.trouble.partition(":")[0].partition("(")[0].strip()


def _log(address: str) -> dict[int, int]:
    """The status of each call that counts, by its number."""
    calls = httpx.get(f"{address}/_sandbox/log", timeout=60).raise_for_status().json()["calls"]
    return {call["n"]: call["status"] for call in calls if "/oauth" not in call["path"]}


def _chunks(members: list[Member]) -> list[list[Member]]:
    """For the processes; tenants of one account come at the same time, in both."""
    near = sorted(members, key=lambda member: (member.is_shared, member.address if member.is_shared else ""))
    pairs = [near[start : start + 2 * _CHUNK] for start in range(0, len(near), 2 * _CHUNK)]
    return [chunk for pair in pairs for chunk in (pair[::2], pair[1::2]) if chunk]


def _seconds_until(hour: int) -> float:
    return (hour * 3600 - time.time()) % 86_400


@contextmanager
def _accounts(folder: Path, hubspot: int, salesforce: int) -> Iterator[dict[Crm, list[str]]]:
    ready = folder / "accounts.json"
    command = [sys.executable, "-m", "benchmarks.accounts", str(ready), str(hubspot), str(salesforce)]
    process = subprocess.Popen(command)
    try:
        while not ready.exists():
            assert process.poll() is None, "the accounts did not come up"
            time.sleep(0.1)
        yield json.loads(ready.read_text(encoding="utf-8"))
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
