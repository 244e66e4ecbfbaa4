"""Canaries: some of an object's records are sent and read back before the others, which wait for their good end.

A trial that failed holds back the runs that start by themselves until somebody has looked: each of them would write another
share of the records, and a canary that is refused too often is none any more. Owns the tables `sync.canaries` and
`sync.trials`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.delta.plan import superseded, withhold
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.ops.switches import Name, Switches
from lms_crm_assets.sync.batches import Part
from lms_crm_assets.sync.convergence import Convergence, read_back
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.sync.outcomes import DeliveryCounts
from lms_crm_assets.warehouse.sql import literal, scalar

LEAST = 20
"""Of each action on an object so many records are canaries, or all of them: a share of few would prove nothing."""


@dataclass(frozen=True)
class Trial:
    """How the canaries of one object fared; `others` are the records that wait for them."""

    object: CrmObject
    canaries: int
    others: int
    not_taken: int
    differing: int

    @property
    def passed(self) -> bool:
        """Whether all were taken and hold what was written."""
        return self.not_taken == self.differing == 0

    def __str__(self) -> str:
        """The figures in plain words."""
        if self.passed:
            return f"all {self.canaries:,} {self.object} canaries were taken and hold what was written"
        return (
            f"of {self.canaries:,} {self.object} canaries {self.not_taken:,} were not taken and {self.differing:,} do not hold"
            f" what was written; {self.others:,} other {self.object} records were not sent, nor anything after them"
        )


def choose_canaries(
    con: duckdb.DuckDBPyConnection,
    plan_id: str,
    spec: ObjectSpec,
    share: float,
    *,
    max_attempts: int,
    others: Collection[str] = (),
) -> tuple[int, int]:
    """Choose a plan's canaries: of each action those whose keys' MD5 is lowest, so that they are the same ones each time.

    Dead letters, children of parents that the CRM lacks, as those of dead letters, and records with which other runs had to
    do (`others`) prove nothing and are none. Gives the number of canaries and of the other records.
    """
    obj = spec.object
    orphans = "".join(
        f" AND (parents[{literal(parent)}] IS NULL OR parents[{literal(parent)}] IN (SELECT external_id FROM crm_snapshot.{parent}))"
        for parent in spec.parents
    )
    con.execute("DELETE FROM sync.canaries WHERE plan_id = $1 AND object = $2", [plan_id, obj])
    con.execute(
        "INSERT INTO sync.canaries SELECT $plan, $object, external_id FROM (SELECT external_id, row_number() OVER"
        " (PARTITION BY action ORDER BY md5(external_id), external_id) AS n, count(*) OVER (PARTITION BY action) AS total"
        " FROM delta.plan_rows WHERE plan_id = $plan AND object = $object AND action <> 'unchanged' AND external_id NOT IN"
        " (SELECT external_id FROM sync.rejections WHERE object = $object AND attempts >= $most)"
        f" AND external_id NOT IN (SELECT unnest($others::VARCHAR[])){orphans}) WHERE n <= greatest($least, ceil(total * $share))",
        {"plan": plan_id, "object": obj, "most": max_attempts, "others": list(others), "least": LEAST, "share": share},
    )
    number = scalar(con, "SELECT count(*) FROM sync.canaries WHERE plan_id = $1 AND object = $2", [plan_id, obj])
    planned = "SELECT count(*) FROM delta.plan_rows WHERE plan_id = $1 AND object = $2 AND action <> 'unchanged'"
    return number, scalar(con, planned, [plan_id, obj]) - number


def deliver(delivery: Delivery, canary_share: float, lane: Lane) -> tuple[DeliveryCounts, Convergence, Trial | None]:
    """Send an object's part of a plan and read it back; with a `canary_share` the canaries first, and no more if these fail.

    Then the plan is withheld: its other objects are not sent either.
    """

    def looked_back() -> Convergence:
        return read_back(
            delivery.crm,
            delivery.spec,
            delivery.plan_id,
            delivery.sync_run_id,
            delivery.open_warehouse,
            delivery.folder,
            lane=lane,
        )

    trial = None
    if canary_share:
        obj = delivery.spec.object
        with delivery.open_warehouse() as con:
            others = superseded(con, delivery.plan_id, obj, delivery.sync_run_id)
            canaries, rest = choose_canaries(
                con, delivery.plan_id, delivery.spec, canary_share, max_attempts=delivery.max_attempts, others=others
            )
        counts = replace(delivery, part=Part.CANARIES).run()
        found = looked_back()
        trial = Trial(obj, canaries, rest, counts.rejected + counts.failed, found.records_differing)
        with delivery.open_warehouse() as con:
            _note_trial(con, trial, delivery.plan_id)
            if not trial.passed:
                withhold(con, delivery.plan_id, str(trial))
        if not trial.passed:
            return counts, found, trial
        delivery = replace(delivery, part=Part.REST)
    counts = delivery.run()
    return counts, looked_back(), trial


def why_held(con: duckdb.DuckDBPyConnection, switches: Switches, *, by_hand: bool) -> str:
    """Why a run sends nothing of its plan, in plain words: canaries failed since the switch was set. Empty where it may.

    A run that a person starts (`by_hand`) tries them again.
    """
    switch = switches.by_name.get(Name.CANARY)
    if switch is None or by_hand:
        return ""
    rows = con.execute(
        "SELECT plan_id, told FROM sync.trials WHERE NOT passed AND ended_at > $1 ORDER BY ended_at LIMIT 1",
        [switch.since],
    ).fetchall()
    if not rows:
        return ""
    plan_id, told = rows[0]
    tenant = f"--tenant {switches.tenant}"
    return (
        f"the canaries of the plan {plan_id} failed ({told}), and runs that start by themselves wait until somebody has looked."
        f" To try again: lms-crm reconcile {tenant}; to send all the same: lms-crm switches clear {tenant} --canary"
    )


def _note_trial(con: duckdb.DuckDBPyConnection, trial: Trial, plan_id: str) -> None:
    con.execute("DELETE FROM sync.trials WHERE object = $1", [trial.object])
    con.execute(
        "INSERT INTO sync.trials VALUES ($1, $2, $3, $4, $5)",
        [trial.object, plan_id, trial.passed, str(trial), datetime.now(UTC)],
    )
