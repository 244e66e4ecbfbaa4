"""Canaries go first, and the rest only after their good end; the trail tells what was sent, and nothing that wasn't."""

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.audit import AuditRow, trail
from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, ParentSpec
from lms_crm_assets.delta.plan import drop_plans, find_plan
from lms_crm_assets.domain import CrmObject, FieldType, Owner
from lms_crm_assets.errors import SwitchedOffError
from lms_crm_assets.ops.lanes import Lane
from lms_crm_assets.ops.switches import Name, Switch, Switches
from lms_crm_assets.snapshot.capture import ensure_snapshot
from lms_crm_assets.sync.canary import LEAST, Trial, choose_canaries, deliver, why_held
from lms_crm_assets.sync.delivery import Delivery
from lms_crm_assets.sync.journal import drop_older
from lms_crm_assets.sync.runs import SyncRun, note_run
from lms_crm_assets.warehouse.connection import connect
from tests.sync.memory_crm import MemoryCrm

CONTACT = ObjectSpec(
    CrmObject.CONTACT,
    "Contact",
    "Key",
    {
        "Name": FieldSpec("family_name", frozenset(), FieldType.TEXT),
        "Org": FieldSpec("organization", frozenset(), FieldType.TEXT, Owner.FILL_IF_EMPTY),
    },
    {},
)
KEYS = [f"lrn-{n}" for n in range(50)]
BY_MD5 = sorted(KEYS, key=lambda key: hashlib.md5(key.encode(), usedforsecurity=False).hexdigest())
CANARIES, REST = BY_MD5[:LEAST], BY_MD5[LEAST:]


class Planned:
    """A plan that gives each contact a name and an organization, and the CRM that takes it."""

    def __init__(self, con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.crm, self.con, self._folder = MemoryCrm(by_upsert=True, tidy=False), con, folder
        self.runs = 0
        ensure_snapshot(con, CONTACT)
        con.execute(
            "CREATE TABLE delta.desired_contact AS SELECT unnest($1) AS external_id, now() AS mapped_at", [KEYS]
        )
        for key in KEYS:
            self.crm.make(CrmObject.CONTACT, key)

    def plan(self) -> str:
        """Make the plan anew."""
        self.runs += 1
        plan_id = f"p{self.runs}"
        self.con.execute(
            "INSERT INTO delta.plans (plan_id, sync_run_id, status, created_at, forecast, breaches, sent, lane)"
            " VALUES ($1, $2, 'approved', now(), '{}', [], [], 'full')",
            [plan_id, f"r{self.runs}"],
        )
        self.con.execute(
            "INSERT INTO delta.plan_rows SELECT $1, 'contact', unnest($2), NULL, 'update', 'ours', ["
            "{'field': 'Name', 'old': 'Old', 'new': 'New', 'owner': 'enforce', 'written': true, 'class': 'ours'},"
            "{'field': 'Org', 'old': NULL, 'new': 'Ours', 'owner': 'fill_if_empty', 'written': true, 'class': 'ours'}],"
            " MAP {}, MAP {}",
            [plan_id, KEYS],
        )
        return plan_id

    def run(self, share: float = 0.1, *, stop_after: int | None = None) -> Trial | None:
        """Deliver it."""
        plan_id, now = self.plan(), datetime.now(UTC)
        note_run(self.con, SyncRun(f"r{self.runs}", plan_id, "cli:ann", [], links_apart=False, began_at=now))

        def may_go_on() -> None:
            if stop_after is not None and self.crm.write_calls >= stop_after:
                raise SwitchedOffError("paused")

        delivery = Delivery(
            crm=self.crm,
            spec=CONTACT,
            plan_id=plan_id,
            open_warehouse=lambda: nullcontext(self.con),
            folder=self._folder,
            sync_run_id=f"r{self.runs}",
            max_attempts=1,
            may_go_on=may_go_on,
        )
        return deliver(delivery, share, Lane.FULL)[2]

    def sent(self) -> list[str]:
        """The keys in the order in which the CRM took them."""
        return [logged.key for logged in self.crm.log]

    def trail(self) -> list[AuditRow]:
        """What the trail tells of records."""
        return [row for row in trail(self.con, []) if row.kind == "write"]


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Planned]:
    with connect(tmp_path / "w.duckdb") as con:
        yield Planned(con, tmp_path)


def test_the_rest_follows_canaries_that_hold(planned: Planned) -> None:
    trial = planned.run()

    assert (trial and trial.passed, trial and trial.canaries, trial and trial.others) == (True, LEAST, len(REST))
    assert (set(planned.sent()[:LEAST]), set(planned.sent()[LEAST:])) == (set(CANARIES), set(REST))
    assert find_plan(planned.con, "p1").sent == ["contact"]


def test_a_refused_canary_keeps_the_rest_and_a_dead_letter_is_none(planned: Planned) -> None:
    planned.crm.refused = frozenset(CANARIES)

    trial = planned.run()

    assert (trial and trial.passed, trial and trial.not_taken, planned.sent()) == (False, LEAST, [])
    plan = find_plan(planned.con, "p1")
    assert (plan.status, plan.sent) == ("withheld", [])
    assert plan.withheld == str(trial)
    # They are dead letters now; the next ones are tried in their place, and a bad mapping gets no further.
    planned.crm.refused = frozenset(KEYS)
    trial = planned.run()
    assert (trial and trial.passed, trial and trial.not_taken, planned.sent()) == (False, LEAST, [])


def test_a_child_whose_parent_the_crm_lacks_is_no_canary(planned: Planned) -> None:
    enrollment = ObjectSpec(
        CrmObject.ENROLLMENT, "Enrollment", "Key", {}, {CrmObject.CONTACT: ParentSpec("Contact", "Key", "Contact__r")}
    )
    planned.con.execute("INSERT INTO crm_snapshot.contact (external_id, crm_id) VALUES ('there', '1')")
    planned.con.execute(
        "INSERT INTO delta.plan_rows SELECT 'p', 'enrollment', unnest($1), NULL, 'create', 'ours', [],"
        " MAP {'contact': unnest($2)}, MAP {}",
        [["a", "b"], ["there", "a dead letter"]],
    )

    assert choose_canaries(planned.con, "p", enrollment, 0.1, max_attempts=5) == (1, 1)
    assert planned.con.execute("SELECT external_id FROM sync.canaries").fetchall() == [("a",)]


def test_a_failed_trial_holds_what_starts_by_itself_until_one_passes_or_the_switch_is_set_anew(
    planned: Planned,
) -> None:
    def held(since: datetime, *, by_hand: bool = False) -> str:
        switch = Switch(Name.CANARY, "0.1", "cli:ann", "", since)
        return why_held(planned.con, Switches("acme", {Name.CANARY: switch}), by_hand=by_hand)

    began = datetime.now(UTC)
    planned.crm.refused = frozenset(CANARIES[:1])
    planned.run()

    assert "of 20 contact canaries 1 were not taken" in held(began)
    assert (held(began, by_hand=True), held(datetime.now(UTC))) == ("", "")
    assert why_held(planned.con, Switches("acme", {}), by_hand=False) == ""
    # By hand: the refused one is a dead letter by now, and the others pass.
    trial = planned.run()
    assert trial is not None
    assert trial.passed
    assert held(began) == ""


def test_a_canary_that_does_not_hold_what_was_written_keeps_the_rest(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned.crm, "spelled", lambda value, _: "changed by a trigger" if value == "New" else value)

    trial = planned.run()

    assert (trial and trial.not_taken, trial and trial.differing) == (0, LEAST)
    assert set(planned.sent()) == set(CANARIES)


def test_a_delivery_ends_between_two_batches_once_it_may_not_go_on(planned: Planned) -> None:
    with pytest.raises(SwitchedOffError):
        planned.run(share=0.0, stop_after=3)

    assert len(planned.sent()) == 3 * planned.crm.batch_size
    assert {row.external_id for row in planned.trail()} == set(planned.sent())


def test_the_trail_tells_nothing_that_was_planned_and_not_sent(planned: Planned) -> None:
    held = planned.crm.find(CrmObject.CONTACT, KEYS[0])
    assert held
    held.values["Org"] = "filled by a person meanwhile"

    planned.run(share=0.0)

    told = {(row.external_id, row.field, row.new) for row in planned.trail() if row.status == "succeeded"}
    taken = {(logged.key, name, value) for logged in planned.crm.log for name, value in logged.values.items()}
    assert told == taken
    assert (KEYS[0], "Org", "Ours") not in told
    assert {row.old for row in planned.trail() if row.field == "Name"} == {"Old"}


def test_a_plan_lasts_as_long_as_the_outcomes_that_it_explains(planned: Planned) -> None:
    planned.run(share=0.0)
    planned.plan()
    planned.con.execute("UPDATE delta.plans SET created_at = created_at - INTERVAL 100 DAY")

    for oldest in (datetime.now(UTC) - timedelta(days=90), datetime.now(UTC) + timedelta(days=1)):
        drop_older(planned.con, oldest)
        drop_plans(planned.con, oldest)
        left = [row[0] for row in planned.con.execute("SELECT DISTINCT plan_id FROM delta.plan_rows").fetchall()]
        assert left == (["p1"] if oldest < datetime.now(UTC) else [])
    assert planned.con.execute("SELECT count(*) FROM sync.runs").fetchall() == [(0,)]
