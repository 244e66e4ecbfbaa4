"""What a change of a CRM's object means for a contract; no network."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from lms_crm_assets.contract.spec import FieldSpec, ObjectSpec, ParentSpec
from lms_crm_assets.crm.acceptance import accept
from lms_crm_assets.crm.discovery import CrmField, CrmSchema, Kind
from lms_crm_assets.discovery.changes import Change, Effect, SchemaChange, compare
from lms_crm_assets.discovery.crm_schema import store_schema
from lms_crm_assets.discovery.standing import standing_changes
from lms_crm_assets.domain import CrmObject, FieldType, Owner, SyncMode
from lms_crm_assets.warehouse.connection import connect


def spec_of(kind: FieldType, words: frozenset[str] | None = None, max_length: int | None = None) -> FieldSpec:
    return FieldSpec("x", frozenset({"x"}), kind, scale=2, words=words, max_length=max_length)


SPEC = ObjectSpec(
    CrmObject.COMPLETION,
    "Completion",
    "Key",
    {
        "Title": spec_of(FieldType.TEXT),
        "Short": spec_of(FieldType.TEXT, max_length=20),
        "State": spec_of(FieldType.TEXT, frozenset({"open", "done"})),
        "Grade": spec_of(FieldType.TEXT),
        "Score": spec_of(FieldType.NUMBER),
        "Seen": replace(spec_of(FieldType.TEXT), owner=Owner.OBSERVE),
    },
    {CrmObject.CONTACT: ParentSpec("Contact", "Key", "Contact__r")},
)
FIELDS = {
    field.name: field
    for field in (
        CrmField("Key", "string", Kind.TEXT, length=64, unique=True, key=True),
        CrmField("Title", "string", Kind.TEXT, length=255, label="The title"),
        CrmField("Short", "string", Kind.TEXT, length=80),
        CrmField("State", "picklist", Kind.PICKLIST, picklist=("open", "done", "other"), restricted=True),
        CrmField("Grade", "picklist", Kind.PICKLIST, picklist=("A", "B"), restricted=True),
        CrmField("Score", "double", Kind.NUMBER, scale=2, digits=3),
        CrmField("Seen", "string", Kind.TEXT, length=80),
        CrmField("Free", "string", Kind.TEXT, length=80),
    )
}
BEFORE = CrmSchema("Completion", FIELDS, {"Contact": frozenset({"Contact__r", "Other__r"})})


def with_field(name: str, **changes: object) -> CrmSchema:
    changed: CrmField = replace(FIELDS[name], **changes)  # type: ignore[arg-type]
    return replace(BEFORE, fields={**FIELDS, name: changed})


def without(name: str, *new: CrmField) -> CrmSchema:
    fields: Mapping[str, CrmField] = {key: field for key, field in FIELDS.items() if key != name}
    return replace(BEFORE, fields={**fields, **{field.name: field for field in new}})


def only(found: list[SchemaChange]) -> SchemaChange:
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("after", "change", "field", "effect"),
    [
        (None, Change.OBJECT_GONE, "", Effect.BLOCK),
        (replace(BEFORE, relations={"Contact": frozenset({"Other__r"})}), Change.RELATION_GONE, "Contact__r", Effect.BLOCK),
        (without("", CrmField("New", "string", Kind.TEXT)), Change.FIELD_NEW, "New", Effect.NOTE),
        (without("", CrmField("New", "string", Kind.TEXT, required=True)), Change.REQUIRED, "New", Effect.ALERT),
        (with_field("Free", required=True), Change.REQUIRED, "Free", Effect.ALERT),
        (with_field("Title", required=True), Change.REQUIRED, "Title", Effect.ALERT),
        (with_field("Key", required=True), Change.REQUIRED, "Key", Effect.NOTE),
        (without("Free"), Change.FIELD_GONE, "Free", Effect.NOTE),
        (without("Title"), Change.FIELD_GONE, "Title", Effect.BLOCK),
        (without("Key"), Change.FIELD_GONE, "Key", Effect.BLOCK),
        (with_field("Title", type="textarea"), Change.TYPE, "Title", Effect.ALERT),
        (with_field("Title", type="double", kind=Kind.NUMBER, length=None), Change.TYPE, "Title", Effect.BLOCK),
        (with_field("Title", type="textarea", rich=True), Change.TYPE, "Title", Effect.BLOCK),
        (with_field("Key", type="double", kind=Kind.NUMBER), Change.TYPE, "Key", Effect.BLOCK),
        (with_field("Title", length=80), Change.LENGTH, "Title", Effect.ALERT),
        (with_field("Key", length=8), Change.LENGTH, "Key", Effect.ALERT),
        (with_field("Short", length=20), Change.LENGTH, "Short", Effect.NOTE),
        (with_field("Short", length=19), Change.LENGTH, "Short", Effect.ALERT),
        (with_field("Score", digits=2), Change.DIGITS, "Score", Effect.ALERT),
        (with_field("Score", scale=1), Change.DECIMALS, "Score", Effect.BLOCK),
        (with_field("State", picklist=("open", "other")), Change.VALUES_GONE, "State", Effect.ALERT),
        (with_field("State", picklist=("open", "done")), Change.VALUES_GONE, "State", Effect.NOTE),
        (with_field("State", picklist=("open", "done", "other", "new")), Change.VALUES_NEW, "State", Effect.NOTE),
        (with_field("Grade", picklist=("A",)), Change.VALUES_GONE, "Grade", Effect.ALERT),
        (with_field("Key", unique=False), Change.UNIQUE_LOST, "Key", Effect.BLOCK),
        (with_field("Key", key=False), Change.KEY_LOST, "Key", Effect.BLOCK),
        (with_field("Key", caseless=True), Change.CASELESS, "Key", Effect.ALERT),
        (with_field("Title", unique=True), Change.UNIQUE, "Title", Effect.ALERT),
        (with_field("Title", createable=False, updateable=False), Change.READ_ONLY, "Title", Effect.BLOCK),
        (with_field("Title", updateable=False), Change.READ_ONLY, "Title", Effect.BLOCK),
        (with_field("Seen", createable=False, updateable=False), Change.READ_ONLY, "Seen", Effect.NOTE),
    ],
)  # fmt: skip
def test_a_change_has_its_effect(after: CrmSchema | None, change: Change, field: str, effect: Effect) -> None:
    found = only(compare(BEFORE, after, SPEC))

    assert (found.change, found.field, found.effect) == (change, field, effect)
    assert found.remedy
    # What blocks by the comparison is what holds a run up, and the other way round.
    assert (found.effect is Effect.BLOCK) == any(each.blocks for each in accept(SPEC, after))


@pytest.mark.parametrize(
    "after",
    [
        with_field("Title", length=300),
        with_field("Title", label="Another label"),
        with_field("Free", length=1, type="textarea"),
        with_field("Free", createable=False, updateable=False),
        with_field("Score", digits=9, scale=3),
        replace(BEFORE, relations={"Contact": frozenset({"Contact__r"})}),
    ],
)
def test_what_is_wider_or_not_in_use_is_no_change(after: CrmSchema) -> None:
    assert compare(BEFORE, after, SPEC) == []


@pytest.mark.parametrize(
    ("new", "to"),
    [
        (CrmField("Title_2", "string", Kind.TEXT), "Title_2"),
        (CrmField("Heading", "string", Kind.TEXT, label="the TITLE"), "Heading"),
        (CrmField("Title_2", "double", Kind.NUMBER), None),
        (CrmField("Zzz", "string", Kind.TEXT), None),
    ],
)
def test_a_field_that_is_gone_while_its_like_came_is_renamed(new: CrmField, to: str | None) -> None:
    first, *others = compare(BEFORE, without("Title", new), SPEC)

    assert (first.effect, first.field) == (Effect.BLOCK, "Title")
    assert first.change is (Change.FIELD_RENAMED if to else Change.FIELD_GONE)
    assert (
        (first.after == to and f"write '{to}'" in first.remedy) if to else [each.field for each in others] == [new.name]
    )


def test_of_several_that_are_gone_the_likest_is_renamed() -> None:
    """A hidden field beside a renamed one, whose names begin and end the same."""
    names = ("LMS_Country__c", "LMS_Organization__c")
    fields = {name: CrmField(name, "string", Kind.TEXT) for name in names}
    spec = replace(SPEC, fields={name: spec_of(FieldType.TEXT) for name in names})
    new = CrmField("LMS_Organisation__c", "string", Kind.TEXT)

    found = compare(
        replace(BEFORE, fields={**FIELDS, **fields}), replace(BEFORE, fields={**FIELDS, new.name: new}), spec
    )

    assert [(each.field, each.change) for each in found] == [
        ("LMS_Country__c", Change.FIELD_GONE),
        ("LMS_Organization__c", Change.FIELD_RENAMED),
    ]


def test_a_picklist_that_is_restricted_now_takes_only_its_words() -> None:
    free = replace(BEFORE, fields={**FIELDS, "Grade": replace(FIELDS["Grade"], restricted=False)})

    assert only(compare(free, BEFORE, SPEC)).effect is Effect.ALERT


def test_who_creates_nothing_needs_nothing_that_is_required() -> None:
    found = only(compare(BEFORE, with_field("Free", required=True), replace(SPEC, mode=SyncMode.UPDATE)))

    assert found.effect is Effect.NOTE


def test_several_changes_are_told_gravest_first() -> None:
    after = with_field("Title", length=10, createable=False, updateable=False)
    after = replace(after, fields={**after.fields, "New": CrmField("New", "string", Kind.TEXT)})

    found = [(each.effect, each.change) for each in compare(BEFORE, after, SPEC)]

    assert found == [
        (Effect.BLOCK, Change.READ_ONLY),
        (Effect.ALERT, Change.LENGTH),
        (Effect.NOTE, Change.FIELD_NEW),
    ]


def test_a_change_stands_since_the_first_day_from_which_on_it_was_always_told(tmp_path: Path) -> None:
    noon, days = datetime(2026, 11, 20, 12, tzinfo=UTC), timedelta(days=1)
    narrow = with_field("Title", length=10)
    both = replace(narrow, fields={**narrow.fields, "New": CrmField("New", "string", Kind.TEXT)})
    with connect(tmp_path / "w.duckdb") as con:
        assert standing_changes(con, SPEC) == []
        for number, schema in enumerate([BEFORE, narrow, BEFORE, narrow, narrow, both]):
            store_schema(con, SPEC.object, schema, noon + number * days)
        found = standing_changes(con, SPEC)

    assert [(each.change.field, each.since) for each in found] == [
        ("Title", date(2026, 11, 23)),
        ("New", date(2026, 11, 25)),
    ]
