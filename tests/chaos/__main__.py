"""`python -m tests.chaos`: every scenario at full length; the last line is `CHAOS_JSON:` with what came of each."""

import argparse
import random
import re
import sys
import time
from collections.abc import Callable

import orjson

from tests.chaos import scenarios
from tests.chaos.scenarios import Result
from tests.lms.contract.protocols import PROTOCOLS


def campaign(rounds: int, seed: int) -> dict[str, Callable[[], Result]]:
    """The scenarios by name."""
    found: dict[str, Callable[[], Result]] = {
        "kills salesforce": lambda: scenarios.kills("salesforce", rounds, seed),
        "kills hubspot": lambda: scenarios.kills("hubspot", rounds, seed),
        "kills salesforce bulk": lambda: scenarios.kills("salesforce", rounds // 4, seed, bulk=True),
        "poison salesforce": lambda: scenarios.poison("salesforce"),
        "poison salesforce bulk": lambda: scenarios.poison("salesforce", bulk=True),
        "poison hubspot": lambda: scenarios.poison("hubspot"),
    }
    for crm in ("salesforce", "hubspot"):
        for name, faults in scenarios.FAULTS.items():
            found[f"{name} {crm}"] = lambda crm=crm, name=name, faults=faults: scenarios.faulty(crm, name, faults, seed)  # type: ignore[misc]
        found[f"token {crm}"] = lambda crm=crm: scenarios.expiring(crm)  # type: ignore[misc]
        found[f"refusals {crm}"] = lambda crm=crm: scenarios.refusals(crm)  # type: ignore[misc]
    for name, protocol in PROTOCOLS.items():
        # Five times as many as kills: 1,000 of them at full length, over all protocols.
        share = -(-5 * rounds // len(PROTOCOLS))
        found[f"interleavings {name}"] = lambda protocol=protocol, share=share: scenarios.interleaved(  # type: ignore[misc]
            protocol, share, seed
        )
    return found | {
        "halved limits": scenarios.halved,
        "rate": scenarios.rate,
        "neighbour": scenarios.neighbour,
        "large salesforce": lambda: scenarios.large("salesforce", 1_000_000),
        "large hubspot": lambda: scenarios.large("hubspot", 200_000),
    }


def main() -> int:
    """Run what is asked for; exit code 1 when anything was lost, doubled, wrong or beyond its bound."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="kills a CRM; five times as many interleavings")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", default="", help="a regular expression of scenarios")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    results = []
    for name, run in campaign(given.rounds, given.seed).items():
        if not re.search(given.only, name):
            continue
        began = time.monotonic()
        result = run()
        results.append(result)
        print(f"{'ok ' if result.ok else 'BAD'} {time.monotonic() - began:6.0f} s  {result.as_json()}", flush=True)
    print("CHAOS_JSON:", orjson.dumps([result.as_json() for result in results]).decode())
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
