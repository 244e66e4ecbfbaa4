"""What may go wrong in a delivery, and what the CRM holds afterwards; each scenario gives one `Result`."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.demo.sandbox_process import Sandbox, running_sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.store import OperationalStore
from tests.chaos.judge import Verdict, duplicates
from tests.chaos.tenant import ChaosTenant, Crm, wait_until, write_calls
from tests.lms.contract.interleavings import interleave
from tests.lms.contract.protocols import Protocol
from tests.sandbox_control import fault, requests

KILLS_A_ROUND = 4
BREAKS_AFTER = 20
_SMALL_SCHOOL = ["--learners", "10", "--enrollments", "10", "--courses", "2"]
# Small batches, so that a run has many moments at which it can be killed.
_SMALL_BATCHES = {"batch_size": 20}


@dataclass(frozen=True)
class Result:
    """What came of a scenario: `rounds` of it, the records to blame, and figures of its own."""

    name: str
    rounds: int
    verdict: Verdict
    figures: Mapping[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing lost, doubled or wrong, and every figure within its bound."""
        return self.verdict == Verdict() and not self.problems

    def as_json(self) -> dict[str, Any]:
        """One entry of the line `CHAOS_JSON:`."""
        return {
            "name": self.name,
            "rounds": self.rounds,
            **vars(self.verdict),
            **self.figures,
            "problems": self.problems,
        }


def kills(crm: Crm, rounds: int, seed: int, *, bulk: bool = False) -> Result:
    """`kill -9` at random moments of runs, then runs until one ends quietly; the school changes between rounds."""
    chance, verdict, done, runs = random.Random(seed), Verdict(), 0, 0
    with (
        running_sandbox([*_SMALL_SCHOOL, "--latency-seconds", "0.02", "--no-rate-limit"]) as sandbox,
        _folder() as state,
    ):
        destination = {"bulk_from": 50} if bulk else _SMALL_BATCHES
        tenant = ChaosTenant(crm, sandbox, state, learners=200, destination=destination)
        edition = 0
        while done < rounds:
            edition += 1
            tenant.move(edition, only=f"hash(n, {edition}) % 3 = 0")
            for _ in range(min(KILLS_A_ROUND, rounds - done)):
                done += _kill_one(tenant, chance)
                verdict += Verdict(duplicated=duplicates(crm, tenant.address))
            runs += tenant.converge()
            verdict += tenant.verdict()
            if edition % 5 == 0:
                tenant.reset()
    name = f"kill -9, {crm}{' bulk' if bulk else ''}"
    return Result(name, done, verdict, {"runs_to_converge": round(runs / edition, 2)})


def _kill_one(tenant: ChaosTenant, chance: random.Random) -> int:
    """Start a run and kill it at some moment of its sending, now and then before it; gives 1 if it was alive then."""
    process = tenant.start()
    assert process.stdout is not None
    if chance.random() < 0.9:
        process.stdout.readline()  # "sending"
        wait = chance.uniform(0, 0.8)
    else:
        wait = chance.uniform(0, 3)
    until = time.monotonic() + wait
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.002)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return int(alive)


def faulty(crm: Crm, name: str, faults: list[dict[str, Any]], seed: int, **options: Any) -> Result:
    """A large enough delivery under faults; the end state and the calls that it took beside the faults' own."""
    with running_sandbox(_SMALL_SCHOOL) as sandbox:
        quiet = _delivered(crm, sandbox, [], seed, {})
        trouble = _delivered(crm, sandbox, faults, seed, options)
    struck = sum(number for status, number in trouble.writes.items() if status in {"0", "203", "401", "503"})
    limited = trouble.writes.get("429", 0)
    amplification = (sum(trouble.writes.values()) - struck - limited) / sum(quiet.writes.values())
    share = limited / sum(trouble.writes.values())
    figures = {
        "amplification": round(amplification, 3),
        "runs": trouble.runs,
        "struck": struck,
        "rate_limited_share": round(share, 4),
        "logins": trouble.logins,
    }
    problems = [f"amplification {amplification:.2f} > 1.1"] if amplification > 1.1 else []
    return Result(f"{name}, {crm}", 1, trouble.verdict, figures, problems)


@dataclass(frozen=True)
class _Delivered:
    verdict: Verdict
    writes: dict[str, int]
    runs: int
    logins: int


def _delivered(
    crm: Crm, sandbox: Sandbox, faults: list[dict[str, Any]], seed: int, options: dict[str, Any]
) -> _Delivered:
    with _folder() as state:
        tenant = ChaosTenant(crm, sandbox, state, learners=600, destination=_SMALL_BATCHES)
        tenant.reset(**options)
        fault(tenant.address, *faults, seed=seed)
        runs = tenant.converge(most=10)
        fault(tenant.address)
        writes = write_calls(tenant.address)
        logins = sum(sum(n.values()) for route, n in requests(tenant.address).items() if "oauth" in route)
        return _Delivered(tenant.verdict(), writes, runs, logins)


_OAUTH: dict[str, dict[str, Any]] = {
    "salesforce": {},
    "hubspot": {
        "flow": "refresh_token",
        "access_token": None,
        "client_id": "env:CHAOS_ID",
        "client_secret": "env:CHAOS_SECRET",
        "refresh_token": "env:CHAOS_REFRESH",
    },
}
_ENVIRON = {
    "CHAOS_ID": "sandbox-client",
    "CHAOS_SECRET": "sandbox-secret",
    "CHAOS_REFRESH": "sandbox-refresh-token",
    "LMS_CRM_KEY": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
}

WRITES = r"^(POST|PATCH|DELETE) .*(/composite/|/batch/(upsert|create|archive|associate))"

FAULTS: dict[str, list[dict[str, Any]]] = {
    "half of the answers cut after commit": [{"route": WRITES, "kind": "cut_after", "share": 0.5}],
    "a fifth 503": [{"route": "services/data|/crm/", "kind": "status", "status": 503, "share": 0.2}],
    "html in place of the answer after commit": [
        {"route": WRITES, "kind": "replace", "status": 203, "body": "<html>at work</html>", "share": 0.3}
    ],
}


def expiring(crm: Crm, calls: int = 50) -> Result:
    """A token that ends every so many calls: the same end state, and a login for each token alone."""
    with running_sandbox(_SMALL_SCHOOL) as sandbox, _folder() as state:
        tenant = ChaosTenant(crm, sandbox, state, learners=600, destination={**_SMALL_BATCHES, **_OAUTH[crm]})
        tenant.environ = _ENVIRON
        tenant.reset(token_calls=calls)
        runs = tenant.converge()
        log = tenant.log()
        logins = sum(1 for each in log if "oauth" in each["path"])
        made = len(log) - logins
        refused = sum(1 for each in log if each["status"] == 401)
        verdict = tenant.verdict()
    problems = [f"{logins} logins for {made} calls"] if logins > made / calls + 2 * runs else []
    figures = {"logins": logins, "calls": made, "refused": refused}
    return Result(f"token of {calls} calls, {crm}", 1, verdict, figures, problems)


def refusals(crm: Crm, threads: int = 50) -> Result:
    """A token ends while fifty threads use it: one of them gets a new one for all."""
    with running_sandbox(_SMALL_SCHOOL) as sandbox, _folder() as state:
        tenant = ChaosTenant(crm, sandbox, state, learners=1, destination={**_OAUTH[crm], "concurrency": 20})
        for name, value in {**sandbox.environ(), **_ENVIRON}.items():
            os.environ[name] = value
        contract = load_contract(state / "tenants", tenant.name)
        spec, adapter = object_spec(contract, CrmObject.CONTACT), crm_adapter(contract, OperationalStore(state))
        with closing(adapter):
            adapter.probe()
            tenant.reset(latency_seconds=0.2)  # which ends all sessions
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda _: adapter.read(spec, ["L0"]), range(threads)))
        log = tenant.log()
    logins = sum(1 for each in log if "oauth" in each["path"])
    refused = sum(1 for each in log if each["status"] == 401)
    problems = [f"{logins} refreshes"] if logins != 1 else []
    return Result(
        f"{threads} threads with an ended token, {crm}",
        1,
        Verdict(),
        {"refreshes": logins, "refused": refused},
        problems,
    )


def halved() -> Result:
    """HubSpot's limit is halved midway: how many calls are refused for it."""
    with running_sandbox(_SMALL_SCHOOL) as sandbox, _folder() as state:
        tenant = ChaosTenant("hubspot", sandbox, state, learners=1500, destination=_SMALL_BATCHES)
        process = tenant.start()
        wait_until(lambda: write_calls(tenant.address).get("200", 0) >= 60)
        options = {"requests_per_10_seconds": 95}
        httpx.post(f"{tenant.address}/_sandbox/options", json=options, timeout=60).raise_for_status()
        process.communicate(timeout=600)
        runs = tenant.converge() + 1
        log = tenant.log()
        limited = sum(1 for each in log if each["status"] == 429) / len(log)
        verdict = tenant.verdict()
    problems = [f"{limited:.1%} refused"] if limited > 0.02 else []
    figures = {"rate_limited_share": round(limited, 4), "calls": len(log), "runs": runs}
    return Result("limit halved midway, hubspot", 1, verdict, figures, problems)


def poison(crm: Crm, *, bulk: bool = False) -> Result:
    """One bad record of 200: 199 are delivered in that run."""
    with running_sandbox(_SMALL_SCHOOL) as sandbox, _folder() as state:
        tenant = ChaosTenant(crm, sandbox, state, learners=200, destination={"bulk_from": 100} if bulk else {})
        spoilt = tenant.spoil(17)
        said = tenant.run()
        contact = said["counts"]["contact"]
        verdict = tenant.verdict(without=spoilt)
    problems = [] if contact["created"] == 199 and contact["rejected"] == 1 else [f"contact: {contact}"]
    return Result(
        f"1 bad of 200, {crm}{' bulk' if bulk else ''}", 1, verdict, {"delivered": contact["created"]}, problems
    )


def rate(learners: int = 100_000) -> Result:
    """HubSpot at 300 ms latency: how much of the allowed rate is used, and how many calls are refused for it."""
    with running_sandbox([*_SMALL_SCHOOL, "--latency-seconds", "0.3"]) as sandbox, _folder() as state:
        tenant = ChaosTenant("hubspot", sandbox, state, learners=learners, only_contacts=True)
        began = time.monotonic()
        said = tenant.run()
        assert "error" not in said, said
        seconds = time.monotonic() - began
        calls = [each for each in tenant.log() if each["path"].endswith("/batch/upsert")]
        used = _steady_rate([each["at"] for each in calls if each["status"] != 429])
        limited = sum(1 for each in calls if each["status"] == 429) / len(calls)
        made = tenant.created("contacts")
        verdict = Verdict(lost=learners - made) if made <= learners else Verdict(duplicated=made - learners)
    problems = [f"{used:.1%} of the rate"] * (used < 0.97) + [f"{limited:.1%} refused"] * (limited > 0.02)
    figures = {
        "used_of_rate": round(used, 4),
        "rate_limited_share": round(limited, 4),
        "calls": len(calls),
        "seconds": round(seconds, 1),
    }
    return Result("rate at 300 ms latency, hubspot", 1, verdict, figures, problems)


def _steady_rate(moments: list[float], window: float = 10.0, calls: int = 190) -> float:
    """Calls in the whole windows after the first burst, of those that were allowed."""
    first, last = min(moments) + window, max(moments)
    whole = int((last - first) / window)
    inside = sum(1 for at in moments if first <= at < first + whole * window)
    return inside / (whole * calls) if whole else 0.0


def neighbour(rounds: int = 3) -> Result:
    """Tenant A's CRM is down: how long tenant B's run takes beside it."""
    alone, beside = [], []
    with running_sandbox(_SMALL_SCHOOL) as sandbox, ExitStack() as stack:
        for _ in range(rounds):
            b = ChaosTenant("hubspot", sandbox, stack.enter_context(_folder()), learners=400)
            b.reset()
            alone.append(_seconds(b.run))
            b.reset()
            b = ChaosTenant("hubspot", sandbox, stack.enter_context(_folder()), learners=400)
            a = ChaosTenant("salesforce", sandbox, b.state, learners=400)
            fault(sandbox.salesforce, {"route": WRITES, "kind": "status", "status": 503})
            down = a.start()
            try:
                # It has found out and waits, as a run does for minutes.
                wait_until(lambda: write_calls(sandbox.salesforce).get("503", 0) >= BREAKS_AFTER)
                beside.append(_seconds(b.run))
            finally:
                down.kill()
                down.communicate()
        verdict = b.verdict()
    more = sorted(beside)[rounds // 2] / sorted(alone)[rounds // 2] - 1
    problems = [f"B takes {more:.0%} longer"] if more > 0.1 else []
    return Result("tenant A's CRM down", rounds, verdict, {"b_takes_longer": round(more, 3)}, problems)


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def large(crm: Crm, learners: int) -> Result:
    """So many records at flat memory."""
    with running_sandbox([*_SMALL_SCHOOL, "--no-rate-limit"]) as sandbox, _folder() as state:
        tenant = ChaosTenant(crm, sandbox, state, learners=learners, only_contacts=True)
        said = tenant.run()
        held = tenant.created("Contact" if crm == "salesforce" else "contacts")
        verdict = Verdict(lost=learners - held) if held <= learners else Verdict(duplicated=held - learners)
    problems = [f"{said['peak_mib']:.0f} MiB"] if said["peak_mib"] > 700 else []
    if "error" in said:
        problems.append(said["error"])
    name = f"{learners:,} records through {'Bulk API 2.0' if crm == 'salesforce' else 'batches'}, {crm}"
    return Result(name, 1, verdict, {"peak_mib": round(said["peak_mib"])}, problems)


def interleaved(protocol: Protocol, rounds: int, seed: int) -> Result:
    """The LMS is edited between the requests of a pull; the next pull holds what the school says."""
    found = interleave(protocol, rounds, seed)
    figures = {"edits": found.edits, "asked_by_key": found.asked_by_key, "pulls_refused": found.refused}
    verdict = Verdict(found.lost, found.doubled, found.wrong)
    return Result(f"interleavings, {protocol.name}", found.interleavings, verdict, figures, found.problems)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lms-crm-chaos-") as folder:
        yield Path(folder)
