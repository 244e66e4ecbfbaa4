"""Feature switches of a tenant: what its runs may do for now, whatever the contract says; who set them, when and why.

Owns the table `switches`. Runs look at them when they begin, before each object that they send, and between two batches.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import FatalError, SwitchedOffError
from lms_crm_assets.ops.audit import note_in
from lms_crm_assets.ops.store import OperationalStore


class Name(StrEnum):
    """The switches, as the options of `lms-crm switches` are called."""

    PAUSE = "pause"
    DRY_RUN = "dry-run"
    ONLY = "only"
    CANARY = "canary"


@dataclass(frozen=True, slots=True)
class Switch:
    """One that is set. `value`: of `only` the objects with commas between, of `canary` the share; empty otherwise.

    `for_run`: a single run was launched so, and nothing is switched.
    """

    name: Name
    value: str
    set_by: str
    reason: str
    since: datetime
    for_run: bool = False

    def __str__(self) -> str:
        """In plain words, as `paused by cli:ann since 2026-11-27 20:15 UTC (migration)`."""
        what = {
            Name.PAUSE: "paused",
            Name.DRY_RUN: "dry run, switched on",
            Name.ONLY: f"only {self.value.replace(',', ', ') or 'nothing'}, switched on",
            Name.CANARY: f"canary {self.value}, switched on",
        }[self.name]
        why = f" ({self.reason})" if self.reason else ""
        if self.for_run:
            return f"{what.removesuffix(', switched on')}, launched so by {self.set_by}{why}"
        return f"{what} by {self.set_by} since {self.since:%Y-%m-%d %H:%M} UTC{why}"


@dataclass(frozen=True)
class Switches:
    """What is set for one tenant; nothing by default."""

    tenant: str
    by_name: Mapping[Name, Switch]

    @property
    def paused(self) -> Switch | None:
        """Nothing is pulled or written."""
        return self.by_name.get(Name.PAUSE)

    @property
    def dry_run(self) -> Switch | None:
        """Everything is done up to the plan, and nothing is written."""
        return self.by_name.get(Name.DRY_RUN)

    @property
    def only(self) -> Switch | None:
        """Other objects are left alone."""
        return self.by_name.get(Name.ONLY)

    @property
    def canary_share(self) -> float:
        """The share of an object's records that is sent first; 0 where it isn't switched on."""
        return float(self.by_name[Name.CANARY].value) if Name.CANARY in self.by_name else 0.0

    @property
    def left_out(self) -> frozenset[CrmObject]:
        """The objects that are left alone."""
        return (
            frozenset(CrmObject) - {CrmObject(o) for o in self.only.value.split(",") if o} if self.only else frozenset()
        )

    def launched(self, *, dry_run: bool, left_out: Collection[CrmObject], by: str) -> "Switches":
        """What a run may do that somebody launched so: never more than is switched."""
        now, found = datetime.now(UTC), dict(self.by_name)
        if dry_run:
            found.setdefault(Name.DRY_RUN, Switch(Name.DRY_RUN, "", by, "", now, for_run=True))
        if left_out:
            value = ",".join(obj for obj in CrmObject if obj not in self.left_out | frozenset(left_out))
            found[Name.ONLY] = Switch(Name.ONLY, value, by, str(self.only or ""), now, for_run=True)
        return Switches(self.tenant, found)

    def check_not_paused(self) -> None:
        """`SwitchedOffError` while the tenant is paused."""
        if self.paused:
            raise SwitchedOffError(
                f"{self.tenant} is {self.paused}: nothing is pulled or written. To go on: lms-crm switches clear --tenant"
                f" {self.tenant} --pause"
            )

    def check_may_send(self, obj: CrmObject | None = None) -> None:
        """`SwitchedOffError` while the tenant is paused, its runs are dry, or this object is left alone."""
        self.check_not_paused()
        if obj in self.left_out:
            raise SwitchedOffError(f"{self.tenant}: {obj} is left alone, {self.only}")
        if self.dry_run:
            raise SwitchedOffError(f"{self.tenant}: {self.dry_run}; {self.why_dry}")

    @property
    def why_dry(self) -> str:
        """What a dry run leaves, and how it is ended."""
        if self.dry_run and self.dry_run.for_run:
            return "nothing is sent. To send the plan: the job apply with its id, or lms-crm apply"
        return f"nothing is sent. To send again: lms-crm switches clear --tenant {self.tenant} --dry-run"

    def __str__(self) -> str:
        """All that is set, in plain words; empty where nothing is."""
        return "; ".join(str(self.by_name[name]) for name in Name if name in self.by_name)


def checked(name: Name, value: str) -> str:
    """The value as it is kept; `FatalError` says what is wrong with it."""
    if name is Name.ONLY:
        words = list(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))
        if not words or (unknown := [word for word in words if word not in set(CrmObject)]):
            named = ", ".join(unknown) if words else "nothing"
            raise FatalError(f"--only names {named}; it takes some of: {', '.join(CrmObject)}")
        return ",".join(obj for obj in CrmObject if obj in words)
    if name is Name.CANARY:
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            raise FatalError(f"--canary {value} is no share; it takes a number above 0 and below 1, as 0.05")
        return f"{share:g}"
    return ""


@dataclass(frozen=True)
class SwitchBoard:
    """The switches of all tenants in a store."""

    store: OperationalStore

    def of(self, tenant: str) -> Switches:
        """A tenant's switches as they are now."""
        return self.all_of([tenant])[tenant]

    def all_of(self, tenants: list[str]) -> dict[str, Switches]:
        """The same of several tenants at once."""
        found: dict[str, dict[Name, Switch]] = {tenant: {} for tenant in tenants}
        query = "SELECT tenant, name, value, set_by, reason, since FROM switches"
        one = len(tenants) == 1
        for row in self.store.read(f"{query} WHERE tenant = ?" if one else query, tuple(tenants) if one else ()):
            if row[0] in found:
                name = Name(row[1])
                found[row[0]][name] = Switch(name, row[2], row[3], row[4], datetime.fromtimestamp(row[5], UTC))
        return {tenant: Switches(tenant, by_name) for tenant, by_name in found.items()}

    def set(self, tenant: str, values: Mapping[Name, str], by: str, reason: str) -> None:
        """Set some switches, and note who did it; the others stay as they are."""
        kept = {name: checked(name, value) for name, value in values.items()}
        now = self.store.clock()
        with self.store.transaction(on=tenant, durable=True) as run:
            for name, value in kept.items():
                run(
                    "INSERT INTO switches (tenant, name, value, set_by, reason, since) VALUES (?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value, set_by = excluded.set_by,"
                    " reason = excluded.reason, since = excluded.since",
                    (tenant, name.value, value, by, reason, now),
                )
                note_in(run, now, (by, "switches.set", tenant, f"{name} {value}".strip(), reason))

    def clear(self, tenant: str, names: list[Name], by: str, reason: str) -> list[Name]:
        """Clear some switches, and note who did it; gives those that were set."""
        now, cleared = self.store.clock(), []
        with self.store.transaction(on=tenant, durable=True) as run:
            for name in names:
                if run("DELETE FROM switches WHERE tenant = ? AND name = ? RETURNING name", (tenant, name.value)):
                    note_in(run, now, (by, "switches.cleared", tenant, name.value, reason))
                    cleared.append(name)
        return cleared
