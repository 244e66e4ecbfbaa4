"""What `lms-crm reconcile` and `apply` print at a run's end, and where Dagster's home is taken from."""

import io
import json
import os
from pathlib import Path

import pytest
import typer
from rich.console import Console

from lms_crm_assets.cli.console import Exit, use_dagster_home
from lms_crm_assets.cli.plans import end_of_run
from lms_crm_assets.defs.runs import ObjectSummary, RunSummary
from lms_crm_assets.reconcile import print_outcome


def test_what_was_refused_is_said_as_it_stands() -> None:
    told = io.StringIO()

    print_outcome(
        Console(file=told, width=200),
        "acme",
        RunSummary("1", succeeded=True, objects={}, refused=["sync: [/a] CONFLICT [b] × 1"]),
    )

    assert "! sync: [/a] CONFLICT [b] × 1" in told.getvalue()


def an_object(**figures: int) -> ObjectSummary:
    return ObjectSummary(**{**dict.fromkeys(ObjectSummary.__dataclass_fields__, 0), **figures})


@pytest.mark.parametrize("status", ["waiting", "dry_run", "withheld"])
def test_a_plan_that_waits_is_counted_as_what_would_be_sent_and_ends_with_a_code_of_its_own(
    capsys: pytest.CaptureFixture[str], status: str
) -> None:
    plan = {"plan_id": "p-1", "status": status, "records": 12}
    summary = RunSummary(
        "1", succeeded=True, objects={"contact": an_object(in_lms=15, create=12, refused=3)}, plan=plan
    )

    with pytest.raises(typer.Exit) as left:
        end_of_run(Console(width=200), "acme", summary, as_json=False)

    assert left.value.exit_code == Exit.WAITS
    header, row = (
        line.split() for line in capsys.readouterr().out.splitlines() if "to create" in line or "acme" in line
    )
    assert "created" not in header
    assert row == ["acme", "contact", "15", "0", "12", "0", "0", "0", "3", "0"]


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (
            RunSummary("1", succeeded=True, objects={}, plan={"plan_id": "p", "status": "waiting", "records": 0}),
            Exit.OK,
        ),
        (RunSummary("1", succeeded=True, objects={"contact": an_object(rejected=1)}), Exit.UNDELIVERED),
        (RunSummary("1", succeeded=True, objects={}, differing=True), Exit.UNDELIVERED),
        (RunSummary("1", succeeded=False, objects={}, problems=["the CRM is down"], passing=True), Exit.LATER),
        (RunSummary("1", succeeded=False, objects={}, problems=["no such field"]), Exit.MEND),
    ],
)
def test_a_run_is_one_object_for_programs_however_it_ended(
    capsys: pytest.CaptureFixture[str], summary: RunSummary, code: Exit
) -> None:
    with pytest.raises(typer.Exit) as left:
        end_of_run(Console(stderr=True), "acme", summary, as_json=True)

    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (left.value.exit_code, out.count("\n"), err.count("\n")) == (code, 1, len(summary.problems))
    assert (told["agrees"], told["problems"]) == (code is Exit.OK, summary.problems)


def test_a_home_that_is_empty_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")

    use_dagster_home()

    assert os.environ["DAGSTER_HOME"] == str(tmp_path)
