"""What people do with the published copy is done as it is written: the queries of its page, the example notebook."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.publishing import copy_path
from tests.e2e.conftest import LmsCrmHere
from tests.sandbox_control import mutate, records

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "published-copy.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"([^\n]+)\n\n```sql\n(.*?)```", PAGE, re.DOTALL)
# Of a school that agrees with its CRM there are none.
NONE = "Which learners have no contact in the CRM?"


@pytest.fixture
def reconciled(sandbox: Sandbox, settings: Settings, lms_crm_here: LmsCrmHere) -> Settings:
    done = lms_crm_here("reconcile", "--tenant", "globex")
    assert done.returncode in {0, 3}, done.stderr
    # What the newest plan is about.
    contact = next(each for each in records(sandbox.hubspot, "contacts") if each["properties"].get("firstname"))
    mutate(sandbox.hubspot, object="contacts", op="update", id=contact["id"], properties={"firstname": "By hand"})
    assert lms_crm_here("plan", "--tenant", "globex").returncode == 0
    return settings


def test_a_run_leaves_a_copy_that_answers_the_queries_of_its_page(reconciled: Settings) -> None:
    copy = copy_path(reconciled.state_dir, "globex")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o400
    assert len(QUERIES) >= 8
    assert len(QUERIES) == PAGE.count("```sql")
    with duckdb.connect(copy, read_only=True) as con:
        found = {question: len(con.execute(query).fetchall()) for question, query in QUERIES}
        assert {question for question, rows in found.items() if not rows} == {NONE}
        newest = con.execute("SELECT object, field, class FROM plan_changes ORDER BY plan_id DESC LIMIT 1").fetchall()
        assert newest == [("contact", "firstname", "drift")]
        described = con.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall()
    assert sorted(described) == sorted(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))


def test_the_example_notebook_runs_to_its_end(reconciled: Settings, tmp_path: Path) -> None:
    kept = ROOT / "examples" / "inspect.ipynb"
    assert [cell for cell in _cells(kept) if cell.get("outputs")] == [], "outputs of one's own are learner data"
    shutil.copy(kept, tmp_path)
    # What `jupyter execute` does, which ends with an error where a cell does.
    command = [sys.executable, "-c", "from nbclient.cli import main; main()", "--output=done.ipynb", "inspect.ipynb"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = json.dumps([cell.get("outputs") for cell in _cells(tmp_path / "done.ipynb")])
    for word in ("LMS-1", "drift", "enrollment", "applied", "Getting started"):
        assert word in shown, word
    assert copy_path(reconciled.state_dir, "globex").exists()


def _cells(notebook: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return found
