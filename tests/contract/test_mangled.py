"""The catalogue of mangled contracts: each mistake is one line with file, line and mend, and nothing else is touched."""

import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lms_crm_assets.cli.app import app
from lms_crm_assets.contract.loading import load_contract, parse_contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.domain import CrmObject, FieldType
from lms_crm_assets.errors import ContractError

ENVIRON = {"LMS_URL": "https://lms.acme.test", "TOKEN_ITSELF": "t0ps3cret"}
VALID = """\
version: 2
tenant: acme
source:
  adapter: moodle
  url: ${LMS_URL}
  token: env:ACME_LMS_TOKEN
  reports: {participants: 1}
destination:
  adapter: hubspot
  url: https://api.hubapi.com
  access_token: env:ACME_CRM_TOKEN
schedules:
  full: 0 2 * * *
guardrails:
  max_update_share: 0.3
objects:
  contact:
    to: contacts
    match_key: lms_user_id
    mode: upsert
    fields:
      firstname: given_name
      lastname: {from: family_name, max_length: 40}
      email: email
      lms_status:
        from: status
        values: {active: Active, suspended: Inactive}
  course:
    to: 0-410
    match_key: lms_course_id
    fields:
      hs_course_name: title
      lms_visible: {from: visible, owner: enforce}
  enrollment:
    to: p_enrollment
    match_key: lms_enrollment_id
    parents:
      contact: default
      course: default
    fields:
      lms_role: role
"""
EMAIL = "      email: email\n"


def expression(text: str) -> tuple[str, str]:
    """Put another expression in place of the given name's column, line 22."""
    return "given_name", '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# what is replaced, by what, the line of the mistake, what the message says
MANGLED: dict[str, tuple[str, str, int, str]] = {
    # the form of the file
    "empty file": (VALID, "", 1, "the file is empty"),
    "only comments": (VALID, "# later\n", 1, "the file is empty"),
    "a list": (VALID, "- version: 2\n", 1, "has to hold a mapping"),
    "a text": (VALID, "acme\n", 1, "has to hold a mapping"),
    "broken YAML": ("source:", "source: [", 5, "no valid YAML"),
    "an open quote": ("match_key: lms_course_id", "match_key: 'lms_course_id", 42, "no valid YAML"),
    "a tab": ("  adapter: moodle", "\tadapter: moodle", 4, "indent with spaces, not with tabs"),
    "a control character": ("tenant: acme", "tenant: ac\x07me", 2, "special characters are not allowed"),
    "two documents": ("schedules:", "---\nschedules:", 12, "more than one document"),
    "an anchor": ("fields:\n      hs_", "fields: &f\n      hs_", 31, "&f: anchors are not allowed"),
    "an alias bomb": (
        "tenant: acme\n",
        "tenant: acme\ndescription: [&a [x, x], &b [*a, *a], &c [*b, *b]]\n",
        3,
        "*b: aliases are not allowed",
    ),
    "a tag": ("tenant: acme", "tenant: !!python/object:os.system acme", 2, "tags are not allowed"),
    "a merge key": ("  full: 0", "  <<: {full: x}\n  full: 0", 13, "merge keys are not allowed"),
    "deep nesting": ("tenant: acme", "tenant: " + "[" * 2000 + "]" * 2000, 2, "nested deeper than 12 levels"),
    "a huge file": ("version", "#" * 300_000 + "\nversion", 1, "larger than 256 KiB"),
    # keys
    "unknown key at the top": ("schedules:", "scheduls:", 12, "scheduls: there is no key 'scheduls' here"),
    "unknown key of an object": ("    mode: upsert", "    moode: upsert", 20, "there is no key 'moode' here"),
    "unknown key of a field": ("max_length: 40", "length: 40", 23, "lastname.length: there is no key 'length' here"),
    "unknown object": ("  course:\n    to", "  lesson:\n    to", 28, "objects.lesson: Input should be 'contact'"),
    "a key that is no text": ("tenant: acme", "tenant: acme\n? [a, b]\n: c", 3, "a key has to be a text"),
    "missing match key": ("    match_key: lms_user_id\n", "", 17, "objects.contact.match_key: this key is missing"),
    "missing source": (VALID[VALID.index("source") : VALID.index("destination")], "", 1, "source: this key is missing"),
    "no fields": ("      lms_role: role\n", "", 40, "objects.enrollment.fields: must be a mapping"),
    "empty fields": ("    fields:\n      lms_role: role\n", "    fields: {}\n", 40, "must not be empty"),
    "a duplicate key": ("tenant: acme", "tenant: acme\ntenant: acme", 3, "tenant: this key stands in line 2 already"),
    "a target twice": (EMAIL, EMAIL + EMAIL, 25, "fields.email: this key stands in line 24 already"),
    "a target twice, by case": (EMAIL, EMAIL + EMAIL.replace("email:", "Email:"), 25, "'email' is the same CRM field"),
    "match key mapped": (EMAIL, EMAIL.replace("email:", "LMS_User_Id:"), 24, "the match key is filled from the LMS's"),
    "two objects to one": (
        "to: 0-410\n    match_key: lms_course_id",
        "to: contacts\n    match_key: lms_user_id",
        29,
        "objects.contact goes to the same CRM object",
    ),
    # parents
    "a parent of the wrong kind": (
        "      course: default",
        "      competency: default",
        39,
        "has no parent of that kind",
    ),
    "a parent that is not mapped": ("      course: default", "      completion: default", 39, "no parent of that kind"),
    "a country that is cut": (
        "      firstname: given_name",
        "      firstname: given_name\n      land: {from: country, max_length: 2, normalise: [country]}",
        23,
        "fields.land.max_length: cuts a country's name before 'country' reads it",
    ),
    "a field that the warehouse has itself": (
        "      firstname: given_name",
        "      External_Id: given_name",
        22,
        "objects.contact.fields.External_Id: the warehouse keeps a column of that name",
    ),
    "a parent without its object": (
        VALID[VALID.index("  course:\n") : VALID.index("  enrollment:")],
        "",
        33,
        "parents.course: add objects.course or drop this parent",
    ),
    "its own parent": ("      course: default", "      enrollment: default", 39, "is a cycle"),
    "a cycle of parents": (
        "    mode: upsert",
        "    parents: {enrollment: default}",
        20,
        "contact would stand above enrollment, and enrollment above it, which is a cycle",
    ),
    # expressions
    "unknown column": (*expression("nickname"), 22, "firstname: 'nickname' is no column of contact; known are"),
    "a text without quotes": (*expression("coalesce(given_name, none)"), 22, "a text stands in single quotes"),
    "half an expression": (*expression("given_name ||"), 22, "no SQL expression: trouble at '||'"),
    "an open text": (*expression("given_name || 'x"), 22, "no SQL expression"),
    "an empty expression": (*expression(""), 22, "the expression is empty"),
    "unknown function": (*expression("soundex_of(given_name)"), 22, "the function SOUNDEX_OF is not allowed"),
    "a function that reads files": (*expression("read_text('/etc/passwd')"), 22, "READ_TEXT is not allowed"),
    "a subquery": (*expression("(select max(email) from staging.learner)"), 22, "a subquery is not allowed"),
    "another table": (*expression("email from staging.learner"), 22, "no FROM"),
    "a qualified column": (*expression("learner.email"), 22, "other tables can't be read"),
    "a statement": (*expression("email; drop table sync.ledger"), 22, "no statement"),
    "a star": (*expression("*"), 22, "'*' is not allowed"),
    "two columns": (*expression("given_name, family_name"), 22, "only one expression"),
    "an attribute that is not kept": (
        *expression("extra ->> 'nickname'"),
        22,
        "firstname.from: 'extra' is always empty here: set 'unknown_attributes: keep'|firstname: 'extra' is always",
    ),
    "two attributes that are not kept": (
        "lms_role: role",
        "lms_role: extra ->> 'kind'\n      lms_cost: {from: extra ->> 'cost', type: number}",
        41,
        "'extra' is always empty here",
    ),
    "all unknown attributes at once": (*expression("extra"), 22, "'extra' is no value but a JSON object"),
    "a path to several attributes": (*expression("extra ->> '$.a[*]'"), 22, "is no path to one attribute"),
    "an unknown word for unknown attributes": (
        "tenant: acme",
        "tenant: acme\nunknown_attributes: kept",
        3,
        "unknown_attributes: Input should be 'ignore' or 'keep'",
    ),
    "types that don't fit": (*expression("given_name + 1"), 22, "the types don't fit"),
    "an expression bomb": (*expression("(" * 900 + "1" + ")" * 900), 22, "nested deeper than 40 levels"),
    "a type that is not evident": (*expression("coalesce(email, username)"), 22, "add 'type: text' or 'type: email'"),
    # fields
    "wrong type of a key": ("given_name", "5", 22, "firstname: must be a column, an expression or a mapping"),
    "unknown type": ("from: visible", "from: visible, type: flag", 33, "lms_visible.type: Input should be 'text'"),
    "a type that can't be": (
        "from: visible",
        "from: visible, type: number",
        33,
        "a boolean can't be compared as number",
    ),
    "unknown owner": ("owner: enforce", "owner: lms", 33, "lms_visible.owner: Input should be 'enforce'"),
    "unknown normaliser": (
        "from: visible",
        "from: visible, normalise: [shout]",
        33,
        "normalise.0: Input should be 'trim'",
    ),
    "a normaliser for another type": ("from: visible", "from: visible, normalise: [country]", 33, "is for text"),
    "both cases": ("max_length: 40", "normalise: [lower, upper]", 23, "exclude each other"),
    "a cut of a truth value": ("from: visible", "from: visible, max_length: 3", 33, "only a text can be cut"),
    "decimals of a text": ("max_length: 40", "scale: 2", 23, "only a number has decimals"),
    "a scale below zero": ("max_length: 40", "scale: -1", 23, "greater than or equal to 0"),
    "column and constant": ("max_length: 40", "value: x", 23, "give either 'from'"),
    "neither": ("{from: family_name, max_length: 40}", "{max_length: 40}", 23, "give either 'from'"),
    "a word without its CRM word": ("active: Active, ", "", 27, "active: no CRM word is given for it"),
    "a word that there isn't": ("active: Active", "active: Active, gone: X", 27, "'gone' is no status of contact"),
    "a word that YAML takes for yes": (
        "active: Active",
        "active: Yes",
        27,
        "values.active: must be a text: write it in",
    ),
    # policies
    "unknown mode": ("    mode: upsert", "    mode: merge", 20, "objects.contact.mode: Input should be 'upsert'"),
    "mirror without archiving": (
        "    mode: upsert",
        "    mode: mirror\n    gone: nothing",
        21,
        "'mirror' archives what is gone",
    ),
    "insert and archive": ("    mode: upsert", "    mode: insert\n    gone: archive", 21, "'insert' never archives"),
    "a share above one": ("max_update_share: 0.3", "max_update_share: 30", 15, "less than or equal to 1"),
    "a share that is no number": ("max_update_share: 0.3", "max_update_share: 30%", 15, "should be a valid number"),
    "a limit on what isn't mapped": (
        "  max_update_share: 0.3",
        "  min_source_count: {competency: 5}",
        15,
        "objects.competency is not mapped",
    ),
    "four fields of cron": ("0 2 * * *", "0 2 * *", 13, "schedules.full: must have five fields"),
    "a minute that there isn't": ("0 2 * * *", "61 2 * * *", 13, "schedules.full: is no cron expression: bad minute"),
    "a day that never comes": (
        "0 2 * * *",
        "0 2 30 2 *",
        13,
        "schedules.full: is a cron expression that never comes due|no cron",
    ),
    "two burst limits": (
        "schedules:",
        "  calls_per_10_seconds: 190\nthrottle: {crm: {calls_per_10_seconds: 100}}\nschedules:",
        12,
        "says otherwise than throttle.crm",
    ),
    # ends, secrets, version
    "wrong version": ("version: 2", "version: 3", 1, "version: must be 2"),
    "a version that is no number": ("version: 2", "version: two", 1, "version: must be 2"),
    "no version": ("version: 2\n", "", 1, "version: this key is missing"),
    "wrong tenant name": ("tenant: acme", "tenant: acne", 2, "tenant is 'acne' but the file is called 'acme.yaml'"),
    "a tenant name with a path": ("tenant: acme", "tenant: ../acme", 2, "tenant: String should match pattern"),
    "unknown adapter": (
        "adapter: moodle",
        "adapter: noodle",
        4,
        "source.adapter: must be one of moodle, canvas, oneroster, thinkific, changes",
    ),
    "plain http": ("${LMS_URL}", "http://lms.acme.test", 5, "source.url: must start with https://"),
    "an address that only looks like loopback": (
        "${LMS_URL}",
        "http://127.0.0.1.evil.test",
        5,
        "must start with https",
    ),
    "an address with a password": ("${LMS_URL}", "https://u:t0ps3cret@lms.test", 5, "must be an address alone"),
    "no address": ("${LMS_URL}", "https://[half", 5, "source.url: is no address"),
    "unset variable": ("${LMS_URL}", "${NO_SUCH}", 5, "source.url: ${NO_SUCH} is used but the environment variable"),
    "a variable without a name": ("${LMS_URL}", "${LMS URL}", 5, "names no environment variable"),
    "bad secret reference": ("env:ACME_LMS_TOKEN", "vault:Acme!", 6, "env:NAME, file:PATH or vault:NAME"),
    "a secret in clear text": ("env:ACME_LMS_TOKEN", "t0ps3cret", 6, "a contract never holds the secret itself"),
    "a secret by a variable": ("env:ACME_LMS_TOKEN", "${TOKEN_ITSELF}", 6, "never holds the secret itself"),
    "a secret that tells itself": (
        "tenant: acme",
        "tenant: acme\ndescription: pat-na1-1234abcd-12ab-34cd-56ef-1234567890ab",
        3,
        "a secret stands here in clear text",
    ),
    "wrong retention": (
        "tenant: acme",
        "tenant: acme\nretention_days: 0",
        3,
        "retention_days: Input should be greater",
    ),
}

# Mistakes that are wrong in more than one way, or in more than one place.
SEVERAL = {
    "an alias bomb": 5,
    "unknown object": 2,
    "a cycle of parents": 2,
    "a scale below zero": 2,
    "a tenant name with a path": 2,
}


def test_the_starting_point_is_valid() -> None:
    assert parse_contract(VALID, Path("tenants/acme.yaml"), ENVIRON).tenant == "acme"
    assert len(MANGLED) >= 50


@pytest.mark.parametrize("name", MANGLED)
def test_a_mistake_is_one_line_with_its_place(name: str) -> None:
    wrong, right, line, message = MANGLED[name]
    assert VALID.count(wrong) == 1, "the catalogue has to change one place"

    found = mistakes(VALID.replace(wrong, right))

    here = [said for said in found if said.startswith(f"tenants/acme.yaml:{line}: ")]
    assert any(part in said for said in here for part in message.split("|")), found
    assert len(found) == SEVERAL.get(name, 1), found
    assert "t0ps3cret" not in "".join(found)


def test_an_attribute_that_is_kept_can_be_mapped_without_code() -> None:
    text = VALID.replace("tenant: acme", "tenant: acme\nunknown_attributes: keep").replace(
        "lms_role: role", "lms_role: extra ->> 'kind'\n      lms_cost: {from: extra ->> '$.price.net', type: number}"
    )

    contract = parse_contract(text, Path("tenants/acme.yaml"), ENVIRON)

    fields = object_spec(contract, CrmObject.ENROLLMENT).fields
    assert {name: (field.type, field.columns) for name, field in fields.items()} == {
        "lms_role": (FieldType.TEXT, frozenset({"extra"})),
        "lms_cost": (FieldType.NUMBER, frozenset({"extra"})),
    }


def mistakes(text: str) -> list[str]:
    with pytest.raises(ContractError) as caught:
        parse_contract(text, Path("tenants/acme.yaml"), ENVIRON)
    return str(caught.value).splitlines()


def test_a_file_in_another_encoding_is_told_by_its_line() -> None:
    with pytest.raises(ContractError, match=r"^acme.yaml:2: the file is not in UTF-8$"):
        parse_contract(VALID.replace("acme", "acmé").encode("latin-1"), Path("acme.yaml"), ENVIRON)


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = VALID
    for wrong, right in (
        ("${LMS_URL}", "http://lms.test"),
        ("given_name", "nickname"),
        ("owner: enforce", "owner: lms"),
        ("      course: default", "      competency: default"),
    ):
        text = text.replace(wrong, right)

    assert [said.partition(": ")[0] for said in mistakes(text)] == [f"tenants/acme.yaml:{n}" for n in (5, 22, 33, 39)]


@pytest.mark.parametrize("name", MANGLED)
def test_no_run_starts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, right, _, _ = MANGLED[name]
    tenants = tmp_path / "tenants"
    tenants.mkdir()
    (tenants / "acme.yaml").write_text(VALID.replace(wrong, right), encoding="utf-8")
    state = tmp_path / "state"
    places = {"LMS_CRM_TENANTS_DIR": tenants, "LMS_CRM_STATE_DIR": state, "DAGSTER_HOME": tmp_path}
    for variable, value in {**ENVIRON, **places}.items():
        monkeypatch.setenv(variable, str(value))

    def refuse(*_: object) -> None:
        pytest.fail("something was sent before the contract was read")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(ContractError):
        load_contract(tenants, "acme")
    assert isinstance(CliRunner().invoke(app, ["reconcile", "--tenant", "acme"]).exception, ContractError)
    assert not state.exists()


SNIPPETS = [
    "\t",
    "\n",
    ": ",
    "- ",
    "[",
    "}",
    "&a ",
    "*a",
    "!!",
    "'",
    '"',
    "\0",
    "é",
    "null",
    "1",
    "${X}",
    "|",
    "<<: ",
    "---\n",
]
SNIPPETS += ["? ", ".nan", "1e999", "\u2028", "2020-13-45", "yes", "9" * 30]


@given(st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 20), st.sampled_from(SNIPPETS)), max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_damage_leaves_a_contract_or_lines_with_the_file(damage: list[tuple[int, int, str]]) -> None:
    text = VALID
    for start, length, snippet in damage:
        text = text[:start] + snippet + text[start + length :]
    try:
        parse_contract(text, Path("tenants/acme.yaml"), ENVIRON)
    except ContractError as exc:
        assert all(line.startswith("tenants/acme.yaml:") for line in str(exc).splitlines())  # noqa: PT017 - either
