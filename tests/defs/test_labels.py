"""Owners and tags of the graph: by these people find what concerns them."""

import dagster as dg
import pytest

from lms_crm_assets.definitions import defs
from lms_crm_assets.domain import LmsEntity


def test_every_asset_has_an_owner() -> None:
    graph = defs.resolve_asset_graph()
    assert {owner for key in graph.get_all_asset_keys() for owner in graph.get(key).owners} == {
        *("team:lms", "team:crm", "team:operations")
    }
    assert all(graph.get(key).owners for key in graph.get_all_asset_keys())


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (
            "tag:object=contact",
            {"raw_lms/learners", "staging/learner", "crm_snapshot/contact", "delta/contact", "sync/contact"},
        ),
        (
            'owner:"team:lms"',
            {f"raw_lms/{entity.value}" for entity in LmsEntity}
            | {f"staging/{entity.staging_table}" for entity in LmsEntity}
            | {"discovery/lms_schema"},
        ),
        ('owner:"team:operations"', {"fleet_health", "retention"}),
        ("tag:writes=crm", {f"sync/{obj}" for obj in ("contact", "course", "enrollment", "completion", "competency")}),
    ],
)
def test_tags_select_what_they_say(selection: str, found: set[str]) -> None:
    graph = defs.resolve_asset_graph()
    keys = dg.AssetSelection.from_string(selection).resolve(graph)
    assert {key.to_user_string() for key in keys} == found


def test_what_holds_personal_columns_is_tagged_so() -> None:
    graph = defs.resolve_asset_graph()
    tagged = dg.AssetSelection.from_string("tag:holds=learner-data").resolve(graph)
    for key in graph.get_all_asset_keys():
        schema = graph.get(key).metadata.get("dagster/column_schema")
        if isinstance(schema, dg.TableSchema) and key.path[-1] not in {"course", "courses"}:
            assert any("pii" in (column.tags or {}) for column in schema.columns) == (key in tagged), key
