"""`kill -9` at any moment of a pull: the next pull ends in the right state, and no cursor is ahead of its rows."""

import os
import random
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.sandbox.school.api import SchoolSimulator
from lms_crm_assets.warehouse.connection import connect
from lms_crm_assets.warehouse.sql import table_exists
from tests.conftest import empty_store
from tests.lms.contract.conftest import SIZE
from tests.lms.contract.protocols import CHANGES, ENVIRON, SECRETS
from tests.lms.contract.warehouse import Warehouse
from tests.simulator_server import serving

pytestmark = pytest.mark.slow

KILLS = 10
SEED = random.randrange(10**6)
ROOT = Path(__file__).parents[3]


@pytest.mark.long
def test_a_killed_pull_loses_nothing_and_no_cursor_is_ahead_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    chance, alive = random.Random(SEED), 0
    simulator = SchoolSimulator(SECRETS["good"], **SIZE, latency_seconds=0.02)
    editor = CHANGES.editor(simulator, chance)
    warehouse = Warehouse(tmp_path)
    with serving(simulator) as address:
        for number in range(KILLS):
            for _ in range(8):
                editor.edit()
            # Half of them while it loads.
            alive += killed(address, tmp_path, chance, loading=number % 2 == 1)
            cursors_are_behind(warehouse, simulator)
        adapter = CHANGES.adapter(address, empty_store())
        # First what changed since the cursors, which a kill may have left each at another moment; then everything.
        for full in (False, True):
            warehouse.pull(adapter, full=full, max_shrink_share=1.0)
            assert warehouse.living() == CHANGES.facts(simulator.records), f"seed {SEED}, full: {full}"
            with connect(warehouse.file) as con:
                assert warehouse.twice(con) == set()
        adapter.close()

    assert alive >= KILLS - 2, f"seed {SEED}: only {alive} were killed before they had ended"
    # What a killed pull had landed is learner data.
    assert not (tmp_path / "landing").exists()


def killed(address: str, folder: Path, chance: random.Random, *, loading: bool) -> int:
    """Start a pull and kill it at some moment; gives 1 if it was alive then."""
    command = [sys.executable, "-m", "tests.lms.contract.one_pull", CHANGES.name, address, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, text=True) as pull:
        assert pull.stdout is not None
        if loading:
            pull.stdout.readline()
        time.sleep(chance.uniform(0, 1.6))
        alive = pull.poll() is None
        pull.kill()
        pull.communicate()
    return int(alive)


def cursors_are_behind(warehouse: Warehouse, simulator: SchoolSimulator) -> None:
    """What changed up to an entity's cursor stands in its table as it is, or changed again since."""
    with connect(warehouse.file) as con:
        cursors = dict(con.execute("SELECT stream, cursor::TIMESTAMPTZ FROM raw_lms.cursors").fetchall())
        for entity in LmsEntity:
            if entity not in cursors:
                # Rows and cursor come together: the feed would give nothing from before a cursor that isn't there.
                assert not table_exists(con, "raw_lms", entity) or not simulator.records(entity)
                continue
            held = {key for (key,) in con.execute(f"SELECT source_id FROM raw_lms.{entity}").fetchall()}
            for row in simulator.records(entity):
                if datetime.fromisoformat(row["updated_at"]) < cursors[entity]:
                    assert row["id"] in held, f"seed {SEED}: {entity} {row['id']}"
