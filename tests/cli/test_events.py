"""`lms-crm events …`: what was delivered, masked, and worked on once more."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lms_crm_assets.cli.app import app
from lms_crm_assets.ops.inbox import Delivery, Inbox, Side, State
from lms_crm_assets.settings import Settings
from tests.receiver_server import ENVIRON, WEBHOOKS, write_contract

BODY = json.dumps(
    {
        "eventname": "\\core\\event\\user_updated",
        "objectid": 205,
        "token": "hook-secret-token",
        "other": {"email": "ada@example.org", "phone": 441234, "name": "Ada\ud800", "list": ["Lovelace"]},
        "username": None,
        "id": "ada@example.org",
    }
).encode()


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """Three events: one done, one parked, one pending."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LMS_CRM_KEY_FILE", raising=False)
    monkeypatch.setenv("LMS_CRM_TENANTS_DIR", str(tmp_path / "tenants"))
    monkeypatch.setenv("LMS_CRM_STATE_DIR", str(tmp_path / "state"))
    for tenant in ("token", "standard"):
        write_contract(tmp_path / "tenants", tenant, WEBHOOKS[tenant])
    found = Inbox.at(Settings.from_environ().state_dir)
    found.add(
        [
            Delivery("token", Side.LMS, "first", "application/json", BODY),
            Delivery("token", Side.CRM, "second", "text/xml", b"<a><SessionId>secret</SessionId><b>Ada</b></a>"),
            Delivery("standard", Side.LMS, "17", "application/json", b"[]"),
        ]
    )
    first, second = found.lease("token", 2, 60)
    found.done([first.number])
    found.park(second.number, "not seen in the LMS for a day")
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["events", *words], env={"COLUMNS": "200"})


def listed(*words: str) -> list[str]:
    result = run("list", "--json", *words)
    assert result.exit_code == 0, result.output
    return [json.loads(line)["delivery_id"] for line in result.output.splitlines()]


@pytest.mark.usefixtures("inbox")
def test_list_narrows() -> None:
    assert listed() == ["first", "second", "17"]
    assert listed("--tenant", "token") == ["first", "second"]
    assert listed("--state", "parked") == ["second"]
    assert listed("--id", "first", "--id", "3") == ["first", "17"]
    assert listed("--id", "17") == ["17"]
    now = datetime.now(UTC)
    assert listed("--since", (now + timedelta(minutes=1)).isoformat()) == []
    assert listed("--until", f"{now + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}", "--since", "2026-01-01") == listed()

    result = run("list")
    assert "not seen in the LMS for a day" in result.output
    assert "Ada" not in result.output


def test_what_an_event_is_about_is_told_by_ids(inbox: Inbox) -> None:
    items = [{"entity": "learners", "id": key} for key in ("10", "9", "ada@example.org")]
    told = {"type": "learners.changed", "data": {"items": items}}
    inbox.add([Delivery("standard", Side.LMS, "rows", "application/json", json.dumps(told).encode())])

    table, shown, lines = run("list", "--id", "rows"), run("show", "--id", "rows"), run("list", "--json")

    assert "learners 9, learners 10 and 1 more" in " ".join(table.output.split())
    assert "about learners 9, learners 10, learners " in shown.output
    assert "ada@" not in table.output + shown.output + lines.output
    rows = {row["delivery_id"]: row for row in map(json.loads, lines.output.splitlines())}
    assert (rows["rows"]["about"][:2], rows["rows"]["touches"]) == (["learners 9", "learners 10"], 3)
    # In no sender's words.
    assert [each.startswith("LMS-50") for each in rows["first"]["about"]] == [True]


@pytest.mark.usefixtures("inbox")
def test_show_masks_learner_data_unless_it_is_asked_for_and_secrets_always() -> None:
    [line] = run("show", "--id", "first", "--json").output.splitlines()
    body = json.loads(line)["body"]
    assert body == {
        "eventname": "\\core\\event\\user_updated",
        "objectid": 205,
        "token": "(a secret)",
        "other": {
            "email": "a… (15 characters)",
            "phone": "(a number)",
            "name": "A… (4 characters)",
            "list": ["L… (8 characters)"],
        },
        "username": None,
        "id": "a… (15 characters)",
    }
    [line] = run("show", "--id", "first", "--json", "--reveal").output.splitlines()
    assert json.loads(line)["body"] == {**json.loads(BODY), "token": "(a secret)"}
    assert "ada@example.org" in run("show", "--id", "first", "--reveal").output
    assert "Ada" not in run("show", "--id", "second").output
    revealed = run("show", "--id", "second", "--reveal").output
    assert "<b>Ada</b>" in revealed
    assert "secret</SessionId>" not in revealed


def test_replay_says_first_and_does_then(inbox: Inbox) -> None:
    result = run("replay", "--tenant", "token", "--state", "parked", "--dry-run")
    assert result.output == "1 event would be worked on once more; nothing was changed\n"
    assert [event.state for event in inbox.find()] == [State.DONE, State.PARKED, State.PENDING]

    result = run("replay", "--since", "2026-01-01")
    assert result.output == "2 events will be worked on once more\n"
    assert {event.state for event in inbox.find()} == {State.PENDING}


@pytest.mark.usefixtures("inbox")
@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["replay"], 2, "say which events"),
        (["replay", "--tenant", "token"], 2, "say which events"),
        (["replay", "--state", "leased"], 2, "worked on anyway"),
        (["replay", "--id", "17"], 1, "no such event that is done or parked"),
        (["show", "--id", "nobody"], 1, "there is no event nobody"),
        (["list", "--since", "yesterday"], 2, "--since is no moment"),
    ],
)
def test_mistakes_are_one_line(words: list[str], exit_code: int, said: str) -> None:
    result = run(*words)

    assert result.exit_code == exit_code
    assert said in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.usefixtures("inbox")
def test_an_empty_list_says_so() -> None:
    assert run("list", "--tenant", "standard", "--state", "done").output == (
        "there are no such events: lms-crm events list, without options, shows those that there are\n"
    )
