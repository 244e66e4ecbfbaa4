"""What the documents say is what the code does."""

import re
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from lms_crm_assets.checks.catalogue import CATALOGUE
from lms_crm_assets.cli.app import app
from lms_crm_assets.cli.console import Exit
from lms_crm_assets.contract.alerts import AlertKind, Alerts
from lms_crm_assets.discovery.changes import Change
from lms_crm_assets.discovery.lms_changes import ShapeChange

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_error_code_is_documented_and_no_other() -> None:
    text = (ROOT / "docs" / "error-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (LMS-\d+) \| `(\w+)` \| (.+) \| (.+) \|$", text, re.MULTILINE)

    assert rows == [(c.code, c.rule, c.meaning, c.remedy) for c in CATALOGUE.values()]


def test_every_schema_change_is_documented() -> None:
    text = (ROOT / "docs" / "schema-changes.md").read_text(encoding="utf-8")

    assert [change for change in (*Change, *ShapeChange) if f"`{change}`" not in text] == []


def test_every_alert_is_documented_with_its_thresholds() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| `(\w+)` \| ", text, re.MULTILINE) == list(AlertKind)
    for name, threshold in Alerts.model_fields.items():
        if name not in {"channels", "muted", "reminder_hours"}:
            assert re.search(rf"`{name}`(?: \({threshold.default:,}\)| in a row \({threshold.default}\))", text), name


def test_every_command_is_in_the_readme_and_explains_itself() -> None:
    for words in _commands():
        assert f"lms-crm {' '.join(words)}" in README, words
        result = CliRunner().invoke(app, [*words, "--help"]) if words != ["sandbox"] else None
        assert result is None or result.exit_code == 0


def test_every_exit_code_is_documented_and_no_other() -> None:
    text = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| .+ \| .+ \|$", text, re.MULTILINE)

    assert rows == [(str(code.value), code.name) for code in Exit]
    line = README.partition("Exit codes: ")[2].partition("What to do")[0]
    assert re.findall(r"(?:^|· )(\d+) ", line.replace("\n", " ")) == [str(code.value) for code in Exit]


def test_every_command_that_the_documents_name_is_there() -> None:
    known = {words[0]: {w[1] for w in _commands() if w[0] == words[0] and len(w) > 1} for words in _commands()}
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for group, sub in re.findall(r"`lms-crm ([a-z][a-z-]*)(?: ([a-z-]+))?", document.read_text(encoding="utf-8")):
            assert group in known, f"{document.name}: lms-crm {group}"
            assert not known[group] or not sub or sub in known[group], f"{document.name}: lms-crm {group} {sub}"


def test_every_make_target_is_in_the_readme() -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert "demo" in targets
    assert [t for t in targets if f"make {t}" not in README] == []


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def _commands() -> list[list[str]]:
    root = get_command(app)
    found = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]  # a group, by construction
        inner = getattr(command, "commands", None)
        found.extend([[name, sub] for sub in inner] if inner else [[name]])
    return found


def test_the_rights_that_moodle_needs_are_those_that_the_adapter_calls() -> None:
    code = "".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "lms_crm_assets" / "lms" / "moodle").glob("*.py")
    )
    called = set(re.findall(r'"((?:core|gradereport|report)_[a-z_]+)"', code))
    section = (ROOT / "docs" / "least-privilege.md").read_text(encoding="utf-8").split("## Moodle")[1].split("\n## ")[0]

    assert "core_user_get_users" in called
    assert set(re.findall(r"`((?:core|gradereport|report)_[a-z_]+)`", section)) == called
