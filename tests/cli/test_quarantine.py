"""`lms-crm quarantine …`, over a real warehouse and in this process."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lms_crm_assets.cli.app import app, main
from lms_crm_assets.warehouse.connection import connect
from tests.refused_warehouse import Refused, refused_warehouse


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refused]:
    """To be read."""
    with pytest.MonkeyPatch.context() as patch:
        yield refused_warehouse(tmp_path_factory.mktemp("refused"), patch)


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """To be changed."""
    return refused_warehouse(tmp_path, monkeypatch)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["quarantine", *words])


def listed(*words: str) -> list[dict[str, Any]]:
    result = run("list", "--tenant", "acme", "--json", *words)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_all_layers_are_listed_with_what_to_do_and_nothing_personal(refused: Refused) -> None:  # noqa: ARG001
    result = run("list", "--tenant", "acme")

    assert result.exit_code == 0, result.output
    for told in ("LMS-104", "LMS-202", "LMS-299", "LMS-301", "LMS-401", "INVALID_EMAIL", "open_school"):
        assert told in result.output, told
    assert "LMS-104 email_format: The e-mail address is malformed. Correct the address in the LMS." in result.output
    assert "Move the learner to another school." in result.output
    assert "LMS-108" not in result.output, "it passed with a warning"
    assert "secret" not in result.output
    assert "example.org" not in result.output
    assert "secret no address" in run("list", "--tenant", "acme", "--show-values").output


def test_the_list_is_narrowed(refused: Refused) -> None:  # noqa: ARG001
    def keys(*words: str) -> list[tuple[str, str]]:
        return sorted((each["code"], each["source_id"]) for each in listed(*words))

    assert keys("--layer", "schema") == [("LMS-104", "2")]
    assert keys("--layer", "business") == [("LMS-202", "3"), ("LMS-202", "4"), ("LMS-299", "6")]
    assert keys("--layer", "destination") == [("LMS-301", "1")]
    assert keys("--layer", "delivery") == [("LMS-401", "1"), ("LMS-499", "9")]
    assert keys("--kind", "enrollment") == [("LMS-499", "9")]
    assert len(keys("--kind", "learners")) == 4
    assert len(keys("--kind", "learners", "--limit", "2")) == 2
    assert keys("--code", "LMS-401") == keys("--code", "INVALID_EMAIL") == [("LMS-401", "1")]
    assert keys("--code", "LMS-108", "--warnings") == [("LMS-108", "5")]
    assert keys("--code", "LMS-306") == []
    assert keys("--code", "LMS-306", "--warnings") == [("LMS-306", "6")]
    assert run("list", "--tenant", "acme", "--kind", "learner").exit_code == 2
    assert "acme has nothing refused that fits" in run("list", "--tenant", "acme", "--code", "LMS-101").output


def test_json_is_masked_too_unless_values_are_asked_for(refused: Refused) -> None:  # noqa: ARG001
    [bad] = listed("--code", "LMS-104")
    assert (bad["value"], bad["row"], bad["attempts"]) == ("s… (17 characters)", None, 1)
    [bad] = listed("--code", "LMS-104", "--show-values")
    assert bad["row"]["email"] == bad["value"] == "secret no address"
    [answer] = listed("--code", "LMS-401", "--show-values")
    assert answer["row"] == {"operation": "upsert", "message": "ada@example.org is bad", "dead_letter": True}


def test_a_mended_row_is_no_longer_listed(changing: Refused) -> None:
    changing.build([{"id": "2", "family_name": "Byron", "status": "active", "email": "now@example.org"}])
    assert listed("--kind", "learners") == []


def test_an_export_holds_everything_and_no_formula(refused: Refused, tmp_path: Path) -> None:  # noqa: ARG001
    target = tmp_path / "refused.csv"
    target.touch(mode=0o644)
    result = run("export", "--tenant", "acme", "--warnings", "--output", str(target))
    assert result.exit_code == 0, result.output
    assert result.output == f"{target}: 9 refusals\n"
    assert target.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    by_code = {row["code"]: row for row in rows}
    assert by_code["LMS-104"]["value"] == "secret no address"
    assert json.loads(by_code["LMS-104"]["row"])["email"] == "secret no address"
    assert by_code["LMS-108"]["value"] == "'=HYPERLINK(secret)"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())

    lines = run("export", "--tenant", "acme", "--warnings", "--format", "ndjson").output.splitlines()
    assert len(lines) == 9
    result = run("export", "--tenant", "acme", "--output", str(tmp_path / "none" / "x"))
    assert "can't be written: No such file or directory" in str(result.exception)
    assert {"=HYPERLINK(secret)"} == {e["value"] for e in map(json.loads, lines) if e["code"] == "LMS-108"}


@pytest.mark.long
def test_a_large_export_takes_little_memory(changing: Refused, tmp_path: Path) -> None:
    with connect(changing.file) as con:
        con.execute(
            "INSERT INTO staging.quarantine BY NAME SELECT 'learners' AS entity, i::VARCHAR AS source_id, 'LMS-104' AS code,"
            " 'email_format' AS rule, 'email' AS \"column\", md5(i::VARCHAR) AS \"value\", now() AS first_seen_at,"
            " now() AS last_seen_at, to_json({'note': repeat(md5(i::VARCHAR), 100)}) AS \"row\" FROM range(80_000) t(i)"
        )
    target = tmp_path / "all.ndjson"
    words = ["quarantine", "export", "--tenant", "acme", "--format", "ndjson", "--output", str(target)]
    # What the process itself had at most; what it says as a child has this one's memory in it.
    code = "import sys; from lms_crm_assets.cli.app import app; app(sys.argv[1:], standalone_mode=False);"
    code += " print(*(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], check=True, env=dict(os.environ), stdout=subprocess.PIPE
    )
    assert target.stat().st_size > 250_000_000
    assert int(ended.stdout.split()[-2]) < 600 * 1024


def test_an_unknown_tenant_and_one_without_a_run_are_told_apart(
    changing: Refused, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for tenant, told in (("nobody", "nobody"), ("acme", "acme was never reconciled")):
        changing.file.unlink(missing_ok=True)
        monkeypatch.setattr(sys, "argv", ["lms-crm", "quarantine", "list", "--tenant", tenant])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        assert told in capsys.readouterr().err


def test_an_older_warehouse_is_read_as_it_is(changing: Refused) -> None:
    with connect(changing.file) as con:
        con.execute("DROP TABLE staging.warnings; DROP TABLE delta.refused")
        for column in ("attempts", "observed_at", '"row"'):
            con.execute(f"ALTER TABLE staging.quarantine DROP COLUMN {column}")
    [bad] = listed("--code", "LMS-104", "--warnings", "--show-values")
    assert (bad["attempts"], bad["row"], bad["value"]) == (None, None, "secret no address")
    assert listed("--layer", "destination") == []
