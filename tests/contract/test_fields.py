"""What a field's mapping means, from the contract to the normal form that DuckDB gives on both sides."""

from typing import Any

import duckdb
import pycountry
import pytest

from lms_crm_assets.contract.models import Contract, FieldMapping
from lms_crm_assets.contract.spec import FieldSpec, field_spec, object_spec
from lms_crm_assets.crm.normal_form import normal_form
from lms_crm_assets.domain import CrmObject, FieldType, Owner, SyncMode


def spec(obj: CrmObject, **mapping: Any) -> FieldSpec:
    return field_spec(obj, FieldMapping.model_validate(mapping))


def values(field: FieldSpec, given: str) -> list[Any]:
    """The normal form of rows of SQL that gives the canonical columns."""
    with duckdb.connect(":memory:") as con:
        con.execute("SET TimeZone = 'UTC'")
        rows = con.execute(f"SELECT {normal_form(field.expression, field)} FROM ({given})").fetchall()
        return [row[0] for row in rows]


def live(field: FieldSpec, *held: str | None) -> list[Any]:
    """The normal form of what a CRM holds."""
    rows = " UNION ALL ".join(f"SELECT {'NULL' if v is None else repr(v)}::VARCHAR AS v" for v in held)
    with duckdb.connect(":memory:") as con:
        con.execute("SET TimeZone = 'UTC'")
        return [row[0] for row in con.execute(f"SELECT {normal_form('v', field)} FROM ({rows})").fetchall()]


def test_a_column_alone_keeps_the_defaults_of_its_type() -> None:
    field = spec(CrmObject.CONTACT, **{"from": "email"})

    assert (field.type, field.owner, field.pii) == (FieldType.EMAIL, Owner.NEVER_NULL, True)
    assert values(field, "SELECT ' Ada@Example.ORG\t' AS email") == ["ada@example.org"]


def test_an_expression_over_personal_columns_is_personal_unless_the_contract_says_otherwise() -> None:
    assert spec(CrmObject.CONTACT, **{"from": "upper(family_name)"}).pii
    assert not spec(CrmObject.CONTACT, **{"from": "country"}).pii
    assert not spec(CrmObject.COURSE, **{"from": "external_id"}).pii
    assert not spec(CrmObject.CONTACT, **{"from": "left(family_name, 1)", "pii": False}).pii


@pytest.mark.parametrize(
    ("value", "kind", "normal"),
    [("O'Hara ", FieldType.TEXT, "O'Hara"), (True, FieldType.BOOLEAN, "true"), (4.5, FieldType.NUMBER, "4.50000")],
)
def test_a_constant_is_the_same_for_every_record(value: Any, kind: FieldType, normal: str) -> None:
    field = spec(CrmObject.COURSE, value=value)

    assert (field.type, field.columns) == (kind, frozenset())
    assert values(field, "SELECT 1") == [normal]


def test_canonical_words_become_crm_words() -> None:
    field = spec(CrmObject.CONTACT, **{"from": "status", "values": {"active": "Active", "suspended": "It's off"}})

    assert values(field, "SELECT unnest(['active', ' suspended', NULL]) AS status") == ["Active", "It's off", None]
    assert field.words == frozenset({"Active", "It's off"})


def test_a_word_that_is_not_named_stays_as_it_is_in_an_open_column() -> None:
    field = spec(CrmObject.ENROLLMENT, **{"from": "role", "values": {"student": "Learner"}})

    assert values(field, "SELECT unnest(['student', 'teacher']) AS role") == ["Learner", "teacher"]
    assert field.words is None


def test_a_longer_text_is_cut_after_it_was_trimmed() -> None:
    field = spec(CrmObject.COURSE, **{"from": "title", "max_length": 5})

    assert values(field, "SELECT '  abcdefg' AS title") == ["abcde"]
    assert live(field, "abcdefg") == ["abcdefg"], "what the CRM holds is not cut: the difference has to be seen"


def test_case_normalisers_hold_for_both_sides() -> None:
    lower, upper = (spec(CrmObject.COURSE, **{"from": "code", "normalise": [n]}) for n in ("lower", "upper"))

    assert values(lower, "SELECT 'Ab-1 ' AS code") == live(lower, "aB-1") == ["ab-1"]
    assert values(upper, "SELECT 'straße' AS code") == live(upper, "Straße") == ["STRAẞE"]


def test_countries_become_alpha_2() -> None:
    field = spec(CrmObject.CONTACT, **{"from": "country", "normalise": ["trim", "country"]})
    spelled = {
        "de": "DE",
        "DEU": "DE",
        "Germany": "DE",
        " côte d'ivoire ": "CI",
        "COTE D'IVOIRE": "CI",
        "uk": "GB",
        "United States": "US",
        "Bolivia": "BO",
        "Atlantis": "Atlantis",
        "": None,
    }
    rows = ", ".join("'" + name.replace("'", "''") + "'" for name in spelled)

    assert values(field, f"SELECT unnest([{rows}]) AS country") == list(spelled.values())


def test_every_country_of_the_standard_is_known_by_all_its_names() -> None:
    field = spec(CrmObject.CONTACT, **{"from": "country", "normalise": ["country"]})
    known = [
        (str(getattr(country, attribute)), country.alpha_2)
        for country in pycountry.countries
        for attribute in ("alpha_2", "alpha_3", "name", "official_name", "common_name")
        if hasattr(country, attribute)
    ]
    rows = ", ".join("'" + name.upper().replace("'", "''") + "'" for name, _ in known)

    found = values(field, f"SELECT unnest([{rows}]) AS country")

    assert [name for (name, code), got in zip(known, found, strict=True) if got != code] == []


def test_a_moment_becomes_its_utc_date() -> None:
    field = spec(CrmObject.COURSE, **{"from": "starts_at", "normalise": ["date"]})

    assert values(field, "SELECT '2026-01-01 00:30:00+01'::TIMESTAMPTZ AS starts_at") == ["2025-12-31"]
    assert live(field, "2025-12-31", "2025-12-31T00:00:00Z", None) == ["2025-12-31", "2025-12-31", None]


def test_an_enforced_checkbox_has_no_third_state() -> None:
    enforced = spec(CrmObject.COURSE, **{"from": "visible", "owner": "enforce"})
    careful = spec(CrmObject.COURSE, **{"from": "visible"})

    assert live(enforced, None, "true", "") == ["false", "true", "false"]
    assert live(careful, None, "true", "") == [None, "true", None]


@pytest.mark.parametrize(
    ("keys", "mode"),
    [
        ({}, SyncMode.UPSERT),
        ({"gone": "archive"}, SyncMode.MIRROR),
        ({"mode": "upsert", "gone": "nothing"}, SyncMode.UPSERT),
        ({"mode": "mirror"}, SyncMode.MIRROR),
        ({"mode": "archive", "gone": "archive"}, SyncMode.ARCHIVE),
        ({"mode": "insert"}, SyncMode.INSERT),
    ],
)
def test_archiving_what_is_gone_is_a_mode_below_the_contract(keys: dict[str, str], mode: SyncMode) -> None:
    contract = Contract.model_validate(
        {
            "version": 2,
            "tenant": "acme",
            "source": {"adapter": "changes", "url": "https://lms.test", "token": "env:T"},
            "destination": {"adapter": "hubspot", "access_token": "env:T"},
            "objects": {"contact": {"to": "contacts", "match_key": "k", "fields": {"email": "email"}, **keys}},
        }
    )

    assert object_spec(contract, CrmObject.CONTACT).mode is mode
