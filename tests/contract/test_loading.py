"""Reading contracts; the catalogue of mistakes is in test_mangled."""

from pathlib import Path

import pytest

from lms_crm_assets.contract.credentials import resolve
from lms_crm_assets.contract.loading import load_contract, load_fleet_alerts, parse_contract, tenant_names
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.errors import ContractError, CredentialError
from tests.conftest import TENANTS

ENVIRON = {
    "ACME_LMS_URL": "https://lms.acme.test",
    "ACME_CRM_URL": "https://acme.my.salesforce.com",
    "GLOBEX_LMS_URL": "http://127.0.0.1:8001",
    "GLOBEX_CRM_URL": "http://127.0.0.1:8002",
}
ACME = (TENANTS / "acme.yaml").read_text(encoding="utf-8")


def test_the_examples_are_valid_and_list_parents_first() -> None:
    assert tenant_names(TENANTS) == ["acme", "globex"]
    for tenant in tenant_names(TENANTS):
        contract = load_contract(TENANTS, tenant, ENVIRON)
        assert contract.in_order() == list(CrmObject)


def test_a_contract_is_read_anew_when_its_file_or_a_variable_that_it_names_changed(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(ACME, encoding="utf-8")
    first = load_contract(tmp_path, "acme", ENVIRON)
    assert load_contract(tmp_path, "acme", {**ENVIRON, "SOMETHING_ELSE": "1"}) is first

    moved = load_contract(tmp_path, "acme", {**ENVIRON, "ACME_CRM_URL": "https://other.my.salesforce.com"})
    assert moved.destination.url == "https://other.my.salesforce.com"
    with pytest.raises(ContractError, match="ACME_CRM_URL is not set"):
        load_contract(tmp_path, "acme", {"ACME_LMS_URL": ENVIRON["ACME_LMS_URL"]})
    (tmp_path / "acme.yaml").write_text(ACME.replace("Acme Academy, Moodle", "Another, Moodle"), encoding="utf-8")
    assert load_contract(tmp_path, "acme", ENVIRON).description == "Another, Moodle to Salesforce"


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            "given_name",
            "gvn_name",
            r"^tenants/acme.yaml:\d+: objects.contact.fields.FirstName: 'gvn_name' is no column",
        ),
        ("match_key: LMS_User_Id__c", "key: LMS_User_Id__c", r":\d+: objects.contact.match_key: this key is missing"),
        (
            "adapter: moodle",
            "adapter: noodle",
            r":\d+: source.adapter: must be one of moodle, canvas, oneroster, thinkific, changes",
        ),
        ("adapter: moodle", "adapter: canvas\n  tok: 1", r":\d+: source.tok: there is no key 'tok' here"),
        ("version: 2", "version: 3", r":\d+: version: must be 2"),
        ("contact: Contact__r", "completion: Contact__r", r"objects.enrollment.parents.completion: enrollment has no"),
        ("      Email: email\n", "      LMS_User_Id__c: email\n", "the match key is filled from the LMS's id"),
        ("${ACME_LMS_URL}", "${NOT_THERE}", "the environment variable NOT_THERE is not set"),
        ("${ACME_LMS_URL}", "http://127.0.0.1.evil.test", "must start with https://"),
        ("${ACME_LMS_URL}", "https://user@lms.test", "must be an address alone"),
        ("tenant: acme", "tenant: acne", "tenant is 'acne' but the file is called 'acme.yaml'"),
        ("source:", "source: [", "this is no valid YAML"),
        ("token: env:ACME_LMS_TOKEN", "token: s3cr3t-itself", r":\d+: source.token: "),
    ],
)
def test_a_mistake_is_named_with_its_place(wrong: str, right: str, message: str) -> None:
    assert wrong in ACME

    with pytest.raises(ContractError, match=message) as caught:
        parse_contract(ACME.replace(wrong, right), Path("tenants/acme.yaml"), ENVIRON)

    assert all(line.startswith("tenants/acme.yaml:") for line in str(caught.value).splitlines())
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("name", ["nobody", "../acme", "acme.yaml", ""])
def test_an_unknown_tenant_is_told_which_there_are(name: str) -> None:
    with pytest.raises(ContractError, match=r"no tenant .* \(tenants there: acme, globex\)"):
        load_contract(TENANTS, name, ENVIRON)


def test_a_credential_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "t0ken")
    (tmp_path / "token").write_text("from-file\n", encoding="utf-8")

    assert resolve("env:SOME_TOKEN").get_secret_value() == "t0ken"
    assert resolve(f"file:{tmp_path}/token").get_secret_value() == "from-file"
    for missing in ("env:NO_SUCH_TOKEN", f"file:{tmp_path}/none"):
        with pytest.raises(CredentialError, match=missing.partition(":")[2]):
            resolve(missing)


def with_checks(*lines: str) -> str:
    return ACME.replace("\nobjects:", "\nchecks:\n" + "".join(f"  {line}\n" for line in lines) + "\nobjects:", 1)


def test_a_bare_off_is_the_word_that_it_looks_like() -> None:
    text = with_checks("rules: [{code: LMS-209, severity: off}]")

    [rule] = parse_contract(text, TENANTS / "acme.yaml", ENVIRON).checks.rules
    assert rule.severity == "off"


def test_rules_that_are_said_twice_are_told_each_at_its_line() -> None:
    own = "{name: ours, entity: learners, column: email, holds: \"email LIKE '%@acme.test'\"}"
    text = with_checks(
        *("rules:", "  - {code: LMS-208, severity: error}", "  - {code: LMS-208, severity: warn}"),
        *("own:", f"  - {own}", f"  - {own}"),
    )

    with pytest.raises(ContractError) as caught:
        parse_contract(text, TENANTS / "acme.yaml", ENVIRON)
    lines = str(caught.value).splitlines()
    numbers = [text.splitlines().index(line) for line in text.splitlines() if "severity: warn" in line]
    assert [line.partition(": ")[2] for line in lines] == [
        "checks.rules.1: this rule is changed already: put both into one entry, or drop one",
        "checks.own.1: a rule has this name already: put both into one entry, or drop one",
    ]
    assert f":{numbers[0] + 1}: " in lines[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("chanels: []", "1: chanels: there is no key 'chanels' here"),
        ("channels:\n- {name: a, to: fax}", "2: channels.0: must be one of 'slack', 'webhook', 'email'"),
        (
            "channels:\n- {name: a, to: slack, url: https://hooks.example/canary}",
            "2: channels.0.url: must say where the secret lies, env:NAME, file:PATH or vault:NAME: a contract never holds the secret itself",
        ),
        (
            "channels:\n- {name: a, to: webhook, url: http://hooks.example, secret: env:A}",
            "2: channels.0.url: must start with https:// (plain http only for loopback)",
        ),
        (
            "channels:\n- {name: a, to: email, host: mail.example, security: none, sender: a@b.c, recipients: [a@b.c]}",
            "2: channels.0: security: none is for loopback only",
        ),
    ],
)
def test_what_is_wrong_with_the_alerts_of_all_tenants_is_told_with_its_line(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "_alerts.yaml").write_text(f"{text}\n", encoding="utf-8")

    with pytest.raises(ContractError) as raised:
        load_fleet_alerts(tmp_path)

    assert str(raised.value) == f"{tmp_path}/_alerts.yaml:{told}"
    assert tenant_names(tmp_path) == []
