"""The notebook's functions over a real warehouse, while it is free and while a run holds it."""

from collections.abc import Iterator

import pandas as pd
import pytest

from lms_crm_assets import inspect
from lms_crm_assets.errors import ContractError, FatalError
from lms_crm_assets.settings import Settings
from lms_crm_assets.warehouse.connection import connect
from tests.refused_warehouse import Refused, refused_warehouse


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refused]:
    with pytest.MonkeyPatch.context() as patch:
        found = refused_warehouse(tmp_path_factory.mktemp("inspected"), patch)
        with connect(found.file) as con:
            con.execute(
                "INSERT INTO delta.plans (plan_id, sync_run_id, status, created_at, approved_at, forecast, breaches, sent, lane) VALUES"
                " ('old', 'run', 'approved', now() - INTERVAL 1 DAY, now(), '{}', [], [], 'full'),"
                " ('new', 'run', 'waiting', now(), NULL, '{}', [], [], 'full')"
            )
            con.execute(
                "INSERT INTO delta.plan_rows SELECT 'new', 'contact', '1', 'c1', 'update', 'conflict',"
                " [{'field': 'firstname', 'old': 'A', 'new': 'Ada', 'owner': 'enforce', 'written': true, 'class': 'ours'},"
                " {'field': 'city', 'old': 'X', 'new': 'Y', 'owner': 'observe', 'written': false, 'class': 'drift'}],"
                " MAP {}, MAP {} UNION ALL"
                " SELECT 'new', 'enrollment', '9', NULL, 'archive', 'ours', [], MAP {'contact': '1'}, MAP {}"
            )
            con.execute(
                "INSERT INTO sync.ledger VALUES ('contact', '1', 'c1', '{\"firstname\": \"Ada\"}', 'run', now())"
            )
        yield found


def test_the_quarantine_has_all_layers_a_row_a_reason(refused: Refused) -> None:  # noqa: ARG001
    frame = inspect.quarantine("acme")
    counts = frame.groupby("layer").size().to_dict()
    assert counts == {"schema": 1, "business": 3, "destination": 1, "delivery": 2}
    [bad] = frame[frame["code"] == "LMS-104"].to_dict("records")
    assert bad["row"]["email"] == bad["value"] == "secret no address"
    assert (bad["kind"], bad["source_id"], bad["rule"], bad["column"]) == ("learners", "2", "email_format", "email")
    assert (bad["severity"], bad["attempts"]) == ("error", 1)
    assert bad["remedy"] == "Correct the address in the LMS."
    assert pd.Timestamp.now("UTC") - bad["first_seen_at"] < pd.Timedelta(minutes=10)
    [own] = frame[frame["code"] == "LMS-299"].to_dict("records")
    assert (own["rule"], own["remedy"]) == ("open_school", "Move the learner to another school.")
    assert set(frame[frame["layer"] == "delivery"]["crm_code"]) == {"INVALID_EMAIL", "SOMETHING_NEW"}


def test_the_quarantine_is_narrowed_and_has_its_types_when_it_is_empty(refused: Refused) -> None:
    with_warnings = inspect.quarantine("acme", layer="schema", warnings=True, settings=refused.settings)
    assert sorted(zip(with_warnings["code"], with_warnings["severity"], strict=True)) == [
        ("LMS-104", "error"),
        ("LMS-108", "warn"),
    ]
    empty = inspect.quarantine("acme", layer="destination").iloc[:0]
    assert str(empty["attempts"].dtype) == "Int64"
    with pytest.raises(ValueError, match="nowhere"):
        inspect.quarantine("acme", layer="nowhere")


def test_the_newest_plan_has_a_row_a_field(refused: Refused) -> None:  # noqa: ARG001
    frame = inspect.plan("acme")
    assert list(zip(frame["external_id"], frame["action"], frame["field"], frame["class"], strict=True))[:2] == [
        ("1", "update", "firstname", "ours"),
        ("1", "update", "city", "drift"),
    ]
    archived = frame.iloc[2]
    assert (archived["action"], archived["class"], archived["parents"]) == ("archive", "ours", {"contact": "1"})
    assert pd.isna(archived["field"])
    assert list(inspect.plan("acme", "old").columns) == list(frame.columns)
    with pytest.raises(FatalError, match="no plan 'other'"):
        inspect.plan("acme", "other")


def test_the_ledger_and_a_learner_s_story_are_told(refused: Refused) -> None:  # noqa: ARG001
    ledger = inspect.ledger("acme")
    assert ledger.to_dict("records")[0]["applied"] == {"firstname": "Ada"}
    story = inspect.explain("acme", "1")
    assert set(story["what"]) == {"seen", "planned", "applied"}
    assert story["at"].is_monotonic_increasing
    assert list(inspect.explain("acme", "secret no address")["what"]) == ["seen", "refused"]
    with pytest.raises(FatalError, match="given no learner"):
        inspect.explain("acme", "nobody")


def test_the_trend_counts_by_day_and_code(refused: Refused) -> None:  # noqa: ARG001
    trend = inspect.trend("acme")
    assert trend.set_index("code")["rows"].to_dict() == {"LMS-104": 1, "LMS-108": 1, "LMS-202": 2, "LMS-299": 1}
    assert (trend["day"] == pd.Timestamp.now("UTC").normalize()).all()


def test_a_notebook_does_not_wait_for_a_run(refused: Refused) -> None:
    before = inspect.ledger("acme")
    with connect(refused.file) as con:
        con.execute("BEGIN; DELETE FROM sync.ledger")
        assert inspect.ledger("acme").equals(before)
        con.execute("ROLLBACK")


def test_an_unknown_tenant_and_one_without_a_run_are_told_apart(refused: Refused) -> None:
    with pytest.raises(ContractError, match="nobody"):
        inspect.trend("nobody")
    elsewhere = Settings(refused.settings.tenants_dir, refused.settings.state_dir / "elsewhere")
    with pytest.raises(FatalError, match=r"acme was never reconciled: .* lms-crm reconcile --tenant acme"):
        inspect.trend("acme", settings=elsewhere)
