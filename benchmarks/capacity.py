"""The capacity model of docs/scale.md: from tenants, records and their change rate to runs at once, calls, storage.

`python -m benchmarks.capacity` puts its table into the page; so does each measurement. It measures nothing: it reckons from what
was measured elsewhere and from what the vendors document; each constant says which. Its calls are compared with those of a day of
many tenants by `benchmarks.tenants`.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Literal

Crm = Literal["hubspot", "salesforce"]

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scale.md"
_MEASURED = {
    figure["name"]: float(figure["value"])
    for figure in json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
}


def _rounded(value: float) -> float:
    """Two digits: the table need not change with each measurement."""
    return float(f"{value:.2g}")


# Measured: a run that finds nothing to do, in a process that is up (run_cost), and how long a process takes to be up
# (lms_crm_assets/defs/event_log.py has the sum of a loaded machine, 8 s). A pod's start is not in it.
_UP_SECONDS = 3.0
_FIXED = [value for name, value in _MEASURED.items() if name.startswith("a run's fixed cost, nothing to do,")]
RUN_SECONDS = _rounded(max(_FIXED) + _UP_SECONDS) if _FIXED else 8.0
# Measured: the first delta of a million records of twelve fields, with the restore, which is a matter of seconds.
DELTA_SECONDS_A_RECORD = _rounded(
    _MEASURED["restore of a warehouse with 1,000,000 × 12 values, with the first delta"] / 1e6
)
# Measured: the warehouse of that million.
WAREHOUSE_BYTES_A_RECORD = 220 * 2**20 / 1e6
# A full pull lands as files beside it, and readers have a copy.
TIMES_THE_WAREHOUSE = 3

# Documented by the vendors: records a call, and for HubSpot calls a second (190 in ten).
LIST = {"hubspot": 100, "salesforce": 2_000}
SEARCH = {"hubspot": 200, "salesforce": 2_000}
UPSERT = {"hubspot": 100, "salesforce": 200}
# Salesforce limits the day, not the second: what the adapter reckons with (crm/salesforce/adapter.py).
CALLS_A_SECOND = {"hubspot": 19.0, "salesforce": 2.0}
READ_BACK = 100
# Counted: what the CRM is asked for its schema, in a full run and every quarter of an hour; and for the day's quota in each run.
DISCOVERY = {"hubspot": 16, "salesforce": 5}
DISCOVERIES_A_DAY = 96
QUOTA = {"hubspot": 1, "salesforce": 0}
# HubSpot's links are read before they are made, with each page of what changed, and read back with the records.
LINKS_READ, LINKS_MADE = 1_000, 2_000


@dataclass(frozen=True)
class Part:
    """One object's part of a run: records that are read, records that are written, of them new ones; parents that it has."""

    read: float
    written: float
    created: float = 0.0
    parents: int = 0


def calls_of(crm: Crm, parts: Iterable[Part], *, incremental: bool = False) -> float:
    """The calls of one run: read, write, link, read back.

    Each object that is looked at takes a call though nothing is in it. Of less than one record a run each is a run of its own.
    """
    calls = 0.0
    for part in parts:
        calls += max(1, ceil(part.read / (SEARCH if incremental else LIST)[crm]))
        calls += _calls(part.written, UPSERT[crm]) + _calls(part.written, READ_BACK)
        if crm == "hubspot":
            calls += part.parents * _calls(part.read, SEARCH[crm]) if incremental else 0.0
            calls += part.parents * _calls(part.written, READ_BACK)
            calls += part.parents * (_calls(part.created, LINKS_READ) + _calls(part.created, LINKS_MADE))
    return calls


def _calls(records: float, a_call: int) -> float:
    return records if records < 1 else ceil(records / a_call)


@dataclass(frozen=True)
class Tenant:
    """One tenant: CRM records of all objects, the share of them that changes in a day, of these the share that is new.

    A quarter each are contacts, enrollments, completions and competencies; courses are few.
    """

    crm: Crm
    records: int
    changed: float
    new: float = 0.2
    incremental_minutes: float = 5.0

    def parts(self, read: float, written: float) -> list[Part]:
        """What of so many records is of each object."""
        of_each = [(0.25, 0), (0.0, 0), (0.25, 2), (0.25, 2), (0.25, 2)]
        return [Part(share * read, share * written, share * written * self.new, parents) for share, parents in of_each]


@dataclass(frozen=True)
class Load:
    """What a tenant takes: CRM calls a day, seconds of a full run, incremental runs a day, bytes on the volume."""

    calls_a_day: int
    full_seconds: float
    incremental_runs: float
    stored_bytes: float


def load_of(tenant: Tenant) -> Load:
    """One full run a day, incremental runs beside it that find each a like part of the changes."""
    runs = 24 * 60 / tenant.incremental_minutes
    changed = tenant.records * tenant.changed / (runs + 1)
    crm = tenant.crm
    full = calls_of(crm, tenant.parts(tenant.records, changed)) + DISCOVERY[crm] + QUOTA[crm]
    between = runs * (calls_of(crm, tenant.parts(changed, changed), incremental=True) + QUOTA[crm])
    between += min(runs, DISCOVERIES_A_DAY) * DISCOVERY[crm]
    seconds = RUN_SECONDS + tenant.records * DELTA_SECONDS_A_RECORD + full / CALLS_A_SECOND[crm]
    stored = tenant.records * WAREHOUSE_BYTES_A_RECORD * TIMES_THE_WAREHOUSE
    return Load(ceil(full + between), seconds, runs, stored)


def runs_at_once(load: Load, tenants: int, *, night_hours: float = 6.0) -> tuple[int, int]:
    """So many runs at once at night, when each tenant has its full run, and by day for the incremental ones alone."""
    by_day = tenants * load.incremental_runs * RUN_SECONDS / (24 * 3600)
    at_night = tenants * load.full_seconds / (night_hours * 3600)
    return ceil(at_night + by_day), ceil(by_day)


def run_hours(load: Load, tenants: int) -> float:
    """Hours of runs in a day, each of one CPU at most: what pods are paid by."""
    return tenants * (load.full_seconds + load.incremental_runs * RUN_SECONDS) / 3600


CASES = [
    (10, Tenant("hubspot", 60_000, 0.01)),
    (100, Tenant("hubspot", 60_000, 0.01)),
    (100, Tenant("salesforce", 60_000, 0.01)),
    (10, Tenant("hubspot", 600_000, 0.01)),
    (10, Tenant("salesforce", 1_000_000, 0.05)),
    (1_000, Tenant("hubspot", 60_000, 0.01)),
    (1_000, Tenant("hubspot", 60_000, 0.01, incremental_minutes=30)),
    (1_000, Tenant("salesforce", 60_000, 0.01, incremental_minutes=30)),
]


def row(tenants: int, tenant: Tenant) -> str:
    """A row of the table."""
    load = load_of(tenant)
    night, day = runs_at_once(load, tenants)
    return (
        f"| {tenants:,} × {tenant.records:,} {tenant.crm} | {tenant.changed:.0%} | {tenant.incremental_minutes:.0f} min"
        f" | {load.calls_a_day:,} | {load.full_seconds / 60:.1f} min | {night:,} / {day:,} | {run_hours(load, tenants):,.0f} h"
        f" | {tenants * load.stored_bytes / 2**30:,.1f} GiB |"
    )


def with_table(text: str) -> str:
    """The page with the table as it is reckoned now."""
    rows = "\n".join(row(*case) for case in CASES)
    return re.sub(r"(?:^\| [\d,]+ × .*\n)+", f"{rows}\n", text, flags=re.MULTILINE)


def write() -> None:
    """Put the table into the page."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
    print("\n".join(row(*case) for case in CASES))
