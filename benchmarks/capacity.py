"""The capacity model of docs/scale.md: from tenants, records and their change rate to runs at once, calls, storage.

`python -m benchmarks.capacity` prints its table. It measures nothing: it reckons from what was measured elsewhere and from
what the vendors document; each constant says which.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

Crm = Literal["hubspot", "salesforce"]

# Measured: a run that finds nothing to do, connections to Dagster's event log kept (defs/event_log.py). A pod's start is not in it.
RUN_SECONDS = 8.0
# Measured: the first delta of a million records of twelve fields on two busy cores (benchmarks/backup.py), without the reading.
DELTA_SECONDS_A_RECORD = 127e-6
# Measured: the warehouse of that million.
WAREHOUSE_BYTES_A_RECORD = 220 * 2**20 / 1e6
# A full pull lands as files beside it, and readers have a copy.
TIMES_THE_WAREHOUSE = 3

# Documented by the vendors: records a call, and for HubSpot calls a second (190 in ten).
LIST = {"hubspot": 100, "salesforce": 2_000}
UPSERT = {"hubspot": 100, "salesforce": 200}
# Salesforce limits the day, not the second: what the adapter reckons with (crm/salesforce/adapter.py).
CALLS_A_SECOND = {"hubspot": 19.0, "salesforce": 2.0}
READ_BACK = 100
LINKS_READ, LINKS_MADE = 1_000, 2_000
# An incremental run asks the CRM for each object what changed there.
OBJECTS = 5


@dataclass(frozen=True)
class Tenant:
    """One tenant: CRM records of all objects, the share of them that changes in a day, links a record to its parents."""

    crm: Crm
    records: int
    changed: float
    links: float = 1.6
    incremental_minutes: float = 5.0


@dataclass(frozen=True)
class Load:
    """What a tenant takes: CRM calls a day, seconds of a full run, incremental runs a day, bytes on the volume."""

    calls_a_day: int
    full_seconds: float
    incremental_runs: float
    stored_bytes: float


def calls_of(
    crm: Crm, read: float, written: float, links: float, incremental_runs: float = 0.0, objects: int = OBJECTS
) -> int:
    """The calls that reading so many records and writing so many take; `links` a record to its parents.

    What is written is read back; an incremental run asks for each object once.
    """
    links = links if crm == "hubspot" else 0.0
    reading = ceil(read / LIST[crm]) + ceil(read * links / LINKS_READ)
    writing = ceil(written / UPSERT[crm]) + ceil(written / READ_BACK)
    linking = ceil(written * links / LINKS_READ) + ceil(written * links / LINKS_MADE)
    return reading + writing + linking + ceil(incremental_runs * objects)


def load_of(tenant: Tenant) -> Load:
    """One full run a day, incremental runs beside it, each change sent once and read back."""
    crm, changed = tenant.crm, tenant.records * tenant.changed
    runs = 24 * 60 / tenant.incremental_minutes
    of_full_run = calls_of(crm, tenant.records, changed, tenant.links)
    full = RUN_SECONDS + tenant.records * DELTA_SECONDS_A_RECORD + of_full_run / CALLS_A_SECOND[crm]
    calls = calls_of(crm, tenant.records, changed, tenant.links, runs)
    return Load(calls, full, runs, tenant.records * WAREHOUSE_BYTES_A_RECORD * TIMES_THE_WAREHOUSE)


def runs_at_once(load: Load, tenants: int, *, night_hours: float = 6.0) -> tuple[int, int]:
    """So many runs at once at night, when each tenant has its full run, and by day for the incremental ones alone."""
    by_day = tenants * load.incremental_runs * RUN_SECONDS / (24 * 3600)
    at_night = tenants * load.full_seconds / (night_hours * 3600)
    return ceil(at_night + by_day), ceil(by_day)


CASES = [
    (10, Tenant("hubspot", 60_000, 0.01)),
    (100, Tenant("hubspot", 60_000, 0.01)),
    (100, Tenant("salesforce", 60_000, 0.01)),
    (10, Tenant("hubspot", 600_000, 0.01)),
    (10, Tenant("salesforce", 1_000_000, 0.05)),
    (1_000, Tenant("hubspot", 60_000, 0.01)),
    (1_000, Tenant("hubspot", 60_000, 0.01, incremental_minutes=30)),
]


def row(tenants: int, tenant: Tenant) -> str:
    """A row of the table."""
    load = load_of(tenant)
    night, day = runs_at_once(load, tenants)
    return (
        f"| {tenants:,} × {tenant.records:,} {tenant.crm} | {tenant.changed:.0%} | {tenant.incremental_minutes:.0f} min"
        f" | {load.calls_a_day:,} | {load.full_seconds / 60:.1f} min | {night:,} / {day:,}"
        f" | {tenants * load.stored_bytes / 2**30:,.1f} GiB |"
    )


if __name__ == "__main__":
    for case in CASES:
        print(row(*case))
