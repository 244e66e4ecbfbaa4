"""Contacts that the CRM has under a learner's address, without the LMS's id, are counted before the first run."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from lms_crm_assets.cli.contract_files import AnyEnviron
from lms_crm_assets.contract.loading import load_contract
from lms_crm_assets.contract.spec import ObjectSpec, object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.delta.there_already import ThereAlready, addresses_to_ask, there_already, told
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.warehouse.connection import connect
from tests.conftest import TENANTS
from tests.sandbox_control import fault, mutate, requests

ADDRESSES = ["ada@example.org", "o'neil+lms@example.org", "nobody@example.org"]


def spec_of(tenant: str) -> ObjectSpec:
    return object_spec(load_contract(TENANTS, tenant, AnyEnviron(os.environ)), CrmObject.CONTACT)


def asked(tenant: str, tmp_path: Path, addresses: list[str]) -> ThereAlready | None:
    with closing(crm_adapter(load_contract(TENANTS, tenant), OperationalStore.at(tmp_path))) as crm:
        return there_already(crm, spec_of(tenant), addresses)


def test_salesforce_tells_how_many(sandbox: Sandbox, tmp_path: Path) -> None:
    def contact(email: str, **more: str) -> None:
        fields = {"LastName": "There", "Email": email, **more}
        mutate(sandbox.salesforce, object="Contact", op="create", fields=fields)

    contact("Ada@Example.org")
    contact("ada@example.org")
    contact("o'neil+lms@example.org", LMS_User_Id__c="7")
    contact("else@example.org")

    assert asked("acme", tmp_path, ADDRESSES) == ThereAlready(3, 2)


def test_hubspot_tells_how_many(sandbox: Sandbox, tmp_path: Path) -> None:
    for properties in (
        {"email": "ada@example.org"},
        {"email": "o'neil+lms@example.org", "lms_user_id": "7"},
        {"email": "else@example.org"},
    ):
        mutate(sandbox.hubspot, object="contacts", op="create", properties=properties)

    assert asked("globex", tmp_path, ADDRESSES) == ThereAlready(3, 1)


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_an_answer_that_does_not_come_stops_nothing_and_quotes_nobody(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], tenant: str
) -> None:
    address = sandbox.salesforce if tenant == "acme" else sandbox.hubspot
    route = "query" if tenant == "acme" else "batch/read"
    fault(address, {"route": route, "kind": "status", "status": 403, "body": "[]"})

    assert asked(tenant, tmp_path, ADDRESSES) is None
    assert "ada@" not in "".join(capsys.readouterr())


def test_without_addresses_nobody_is_asked(sandbox: Sandbox, tmp_path: Path) -> None:
    assert asked("globex", tmp_path, []) is None
    assert not [route for route in requests(sandbox.hubspot) if "batch/read" in route]


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "w.duckdb") as found:
        found.execute("CREATE TABLE delta.contact AS SELECT * EXCLUDE (plan_id, object) FROM delta.plan_rows")
        for key, action, email in (("1", "create", "b@x.test"), ("2", "create", None), ("3", "update", "c@x.test")):
            found.execute(
                "INSERT INTO delta.contact VALUES ($1, NULL, $2, 'ours', [{'field': 'LastName', 'old': NULL, 'new': 'X',"
                " 'owner': 'never_null', 'written': true, 'class': 'ours'}, {'field': 'Email', 'old': NULL, 'new': $3,"
                " 'owner': 'never_null', 'written': true, 'class': 'ours'}], MAP {}, MAP {})",
                [key, action, email],
            )
        yield found


def test_only_a_first_plan_asks_and_only_for_what_it_creates(con: duckdb.DuckDBPyConnection) -> None:
    assert addresses_to_ask(con, spec_of("acme")) == ["b@x.test"]

    con.execute(
        "INSERT INTO sync.ledger (object, external_id, crm_id, applied, synced_at) VALUES ('contact', '3', 'K3', MAP {}, now())"
    )

    assert addresses_to_ask(con, spec_of("acme")) == []


def test_the_figure_says_of_how_many_and_what_to_do() -> None:
    assert told(1, 3, "lms_user_id", "hubspot").startswith("1 contact that hubspot has already share")
    assert told(12, 2_000, "LMS_User_Id__c", "salesforce").startswith("of the first 2,000 addresses 12 contacts")
    assert "docs/salesforce.md#4-" in told(12, 2_000, "LMS_User_Id__c", "salesforce")
