"""A tenant of the chaos tests: the example contract of a CRM, a staged school, and runs as processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import yaml

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.warehouse.connection import connect
from tests.chaos.judge import Verdict, judged
from tests.chaos.school import stage, staged
from tests.sandbox_control import requests

Crm = Literal["salesforce", "hubspot"]

_EXAMPLES = {"salesforce": "acme", "hubspot": "globex"}
_ROOT = Path(__file__).parents[2]


@dataclass
class ChaosTenant:
    """One tenant with its state folder; `destination` and `contract` are keys that replace the example's."""

    crm: Crm
    sandbox: Sandbox
    state: Path
    learners: int = 200
    destination: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    contract: Mapping[str, Any] = field(default_factory=dict)
    only_contacts: bool = False

    def __post_init__(self) -> None:
        """Write the contract and stage the school."""
        contract = yaml.safe_load((_ROOT / "tenants" / f"{self.name}.yaml").read_text(encoding="utf-8"))
        contract.update(self.contract)
        contract["destination"].update(self.destination)
        contract["destination"] = {key: value for key, value in contract["destination"].items() if value is not None}
        if self.only_contacts:
            contract["objects"] = {"contact": contract["objects"]["contact"]}
        (self.state / "tenants").mkdir(parents=True, exist_ok=True)
        (self.state / "tenants" / f"{self.name}.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
        self.move(0)

    @property
    def name(self) -> str:
        """The example's name."""
        return _EXAMPLES[self.crm]

    @property
    def address(self) -> str:
        """Where the CRM is."""
        return {"salesforce": self.sandbox.salesforce, "hubspot": self.sandbox.hubspot}[self.crm]

    @property
    def warehouse(self) -> Path:
        """The tenant's warehouse."""
        return self.state / "warehouse" / f"{self.name}.duckdb"

    def move(self, edition: int, only: str = "true") -> None:
        """Move rows of the school on to an edition."""
        entities = [LmsEntity.LEARNERS] if self.only_contacts else list(LmsEntity)
        stage(self.warehouse, self.learners, edition, entities, only=only)

    def spoil(self, number: int) -> frozenset[str]:
        """Give a learner an address that no CRM takes; gives the keys of all that is theirs."""
        with connect(self.warehouse) as con:
            con.execute(
                "UPDATE staging.learner SET email = 'no address', row_hash = row_hash + 1 WHERE source_id = $1",
                [f"L{number}"],
            )
        return frozenset(f"{letter}{number}" for letter in "LEKP")

    def log(self) -> list[dict[str, Any]]:
        """Every request that the CRM got, in order."""
        found: list[dict[str, Any]] = (
            httpx.get(f"{self.address}/_sandbox/log", timeout=60).raise_for_status().json()["calls"]
        )
        return found

    def created(self, kind: str) -> int:
        """How many records of one object the CRM has made."""
        stats = httpx.get(f"{self.address}/_sandbox/stats", timeout=60).raise_for_status().json()
        return int(stats["records"].get(kind, {}).get("created", 0))

    def start(self) -> "subprocess.Popen[str]":
        """A run in a process of its own."""
        environ = {**os.environ, **self.sandbox.environ(), **self.environ}
        command = [sys.executable, "-m", "tests.chaos.one_run", str(self.state), self.name]
        return subprocess.Popen(command, cwd=_ROOT, env=environ, stdout=subprocess.PIPE, text=True)

    def run(self) -> dict[str, Any]:
        """A run to its end; gives what it says."""
        process = self.start()
        out = process.communicate(timeout=3600)[0]
        assert process.returncode == 0, out
        said: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return said

    def converge(self, most: int = 5) -> int:
        """Run until a run ends with everything delivered; gives the number of runs."""
        for number in range(1, most + 1):
            said = self.run()
            if "error" not in said and not any(c["failed"] + c["rejected"] for c in said["counts"].values()):
                return number
        raise AssertionError(f"not converged after {most} runs: {said}")

    def verdict(self, *, without: frozenset[str] = frozenset()) -> Verdict:
        """What the CRM holds against the school."""
        return judged(self.crm, self.address, staged(self.warehouse), without=without)

    def reset(self, **options: Any) -> None:
        """Empty the CRM."""
        httpx.post(f"{self.address}/_sandbox/reset", json=options, timeout=60).raise_for_status()


def wait_until(condition: Any, seconds: float = 300.0) -> None:
    """Look until it holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to hold"
        time.sleep(0.005)


def write_calls(address: str) -> dict[str, int]:
    """Requests that change something, by status (0: the connection was cut)."""
    found: dict[str, int] = {}
    for route, by_status in requests(address).items():
        method, _, path = route.partition(" ")
        if method not in {"GET", "HEAD"} and "oauth" not in path and not path.endswith(("/search", "/batch/read")):
            for status, number in by_status.items():
                found[status] = found.get(status, 0) + number
    return found
