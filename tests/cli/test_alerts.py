"""`lms-crm alerts` from the command line: the channels are tried, and what is amiss is listed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lms_crm_assets.alerts.conditions import Findings, Violation
from lms_crm_assets.alerts.register import Register
from lms_crm_assets.cli.app import app
from lms_crm_assets.contract.alerts import AlertKind
from lms_crm_assets.ops.store import OperationalStore
from tests.defs.test_fleet import CONTRACT
from tests.webhook_catcher import Catcher, catching

CHAT = "channels:\n- {name: chat, to: slack, url: env:CHAT_URL}\n"


@pytest.fixture
def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catcher]:
    """Two tenants: one hears by the fleet's channel alone, the other by a mail server that is not there too."""
    for tenant in ("acme", "globex"):
        text = CONTRACT.format(tenant=tenant, minutes=60)
        (tmp_path / f"{tenant}.yaml").write_text(text, encoding="utf-8")
    mail = (
        "{name: people, to: email, host: 127.0.0.1, port: 1, security: none, sender: a@b.test, recipients: [c@d.test]}"
    )
    with (tmp_path / "globex.yaml").open("a", encoding="utf-8") as file:
        file.write(f"alerts: {{channels: [{mail}]}}\n")
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path))
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("LMS_CRM_STORE_URL", raising=False)
    with catching() as found:
        monkeypatch.setenv("CHAT_URL", found.url)
        yield found


def cli(*words: str) -> Result:
    return CliRunner().invoke(app, ["alerts", *words])


def test_each_channel_is_tried_and_says_what_became_of_it(chat: Catcher, tmp_path: Path) -> None:
    nobody = cli("test")
    assert (nobody.exit_code, "_alerts.yaml names no channel: see docs/alerts.md" in nobody.output) == (1, True)

    (tmp_path / "_alerts.yaml").write_text(CHAT, encoding="utf-8")
    fine, one_fails = cli("test"), cli("test", "--tenant", "globex")

    assert (fine.exit_code, fine.output) == (0, "✓ chat (slack): sent\n")
    assert one_fails.exit_code == 1
    assert one_fails.output.splitlines() == [
        "✓ chat (slack): sent",
        "✗ people (email): the mail server can't be reached or broke off: ConnectionRefusedError",
    ]
    titles = [json.loads(each.body)["text"].splitlines()[0] for each in chat.caught]
    assert titles == ["[all tenants] Test message", "[globex] Test message"]


@pytest.mark.usefixtures("chat")
def test_what_is_amiss_is_listed_with_whom_was_told(tmp_path: Path) -> None:
    register = Register(OperationalStore.at(tmp_path / "state"))
    wrong = Violation(AlertKind.QUEUE, "age", "the oldest event waits for 40 minutes", "is lms-crm worker at work?")
    assert "nothing is amiss" in cli("list").output
    register.note("acme", Findings((wrong,), frozenset()))
    [alert] = register.find()
    for channel in ("chat", "people"):
        assert register.claim(alert, channel, "fired")
    register.sent(alert, "chat", "fired")
    register.failed(alert, "people", "fired", "it answers 503")

    listed, told = cli("list", "--tenant", "acme"), json.loads(cli("list", "--json").output)

    assert (
        "queue (age)   the oldest event waits for 40 minutes   chat, people (failed: it answers 503)" in listed.output
    )
    assert (told["text"], told["todo"], told["recovered_at"]) == (wrong.told, wrong.todo, None)
    assert told["channels"]["people"]["fired"] == {"sent_at": None, "tries": 1, "trouble": "it answers 503"}
    assert "nothing is amiss" in cli("list", "--tenant", "globex").output
    register.note("acme", Findings((), frozenset()))
    assert "nothing is amiss" in cli("list").output
    assert "until (UTC)" in cli("list", "--all").output
