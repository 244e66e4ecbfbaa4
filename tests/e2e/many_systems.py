"""`python -m tests.e2e.many_systems READY_FILE NUMBER`: so many schools, each with a HubSpot portal of its own, in one process."""

import asyncio
import json
import sys
from pathlib import Path

from benchmarks.accounts import Accounts, serve
from lms_crm_assets.sandbox.hubspot import HubSpotSimulator
from lms_crm_assets.sandbox.school import SchoolSimulator


def addresses(accounts: Accounts, number: int) -> dict[str, list[str]]:
    """No two schools have the same learners."""
    return {
        "school": [
            accounts.add(SchoolSimulator(learners=20 + n, courses=3, enrollments=40 + n, seed=n)) for n in range(number)
        ],
        "hubspot": [accounts.add(HubSpotSimulator()) for _ in range(number)],
    }


if __name__ == "__main__":
    made = Accounts()
    found = addresses(made, int(sys.argv[2]))
    asyncio.run(serve(made, Path(sys.argv[1]), json.dumps(found)))
