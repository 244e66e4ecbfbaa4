"""The graph: its keys, its order, and what each job touches."""

import dagster as dg
import pytest

from lms_crm_assets.definitions import defs

RAW = {"learners", "courses", "enrollments", "completions", "scores", "competencies"}
STAGING = {"learner", "course", "enrollment", "completion", "score", "learner_competency"}
OBJECTS = {"contact", "course", "enrollment", "completion", "competency"}
LAYERS = {
    "raw_lms": RAW,
    "staging": STAGING,
    "discovery": {"crm_schema", "lms_schema"},
    "crm_snapshot": OBJECTS,
    "delta": {*OBJECTS, "plan"},
    "sync": {*OBJECTS, "events"},
}


def keys_of(layer: str) -> set[str]:
    return {key.path[1] for key in defs.resolve_asset_graph().get_all_asset_keys() if key.path[0] == layer}


def test_the_asset_keys_are_those_of_the_design() -> None:
    assert {layer: keys_of(layer) for layer in LAYERS} == LAYERS
    others = {
        key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys() if key.path[0] not in LAYERS
    }
    assert others == {"fleet_health", "retention"}


def test_every_asset_is_partitioned_by_tenant_grouped_by_layer_and_described() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys() - {dg.AssetKey("fleet_health"), dg.AssetKey("retention")}:
        node = graph.get(key)
        assert isinstance(node.partitions_def, dg.DynamicPartitionsDefinition)
        assert node.group_name == key.path[0]
        assert node.description


def test_parents_are_synced_before_their_children_and_nothing_before_the_plan() -> None:
    graph = defs.resolve_asset_graph()
    for obj in OBJECTS:
        parents = {key.path[1] for key in graph.get(dg.AssetKey(["sync", obj])).parent_keys if key.path[0] == "sync"}
        assert parents == (set() if obj in {"contact", "course"} else {"contact", "course"})
        assert dg.AssetKey(["delta", "plan"]) in graph.get(dg.AssetKey(["sync", obj])).parent_keys


def test_nothing_is_captured_or_written_before_the_crm_was_discovered() -> None:
    graph = defs.resolve_asset_graph()
    discovered = dg.AssetKey(["discovery", "crm_schema"])

    for obj in OBJECTS:
        assert discovered in graph.get(dg.AssetKey(["crm_snapshot", obj])).parent_keys
        assert dg.AssetKey(["crm_snapshot", obj]) in graph.get(dg.AssetKey(["delta", obj])).parent_keys
    assert graph.get(dg.AssetCheckKey(discovered, "fits_contract")).blocking


def test_a_child_is_compared_after_its_parents_of_which_some_may_be_refused() -> None:
    graph = defs.resolve_asset_graph()
    for obj in OBJECTS - {"contact", "course"}:
        parents = {key.path[1] for key in graph.get(dg.AssetKey(["delta", obj])).parent_keys if key.path[0] == "delta"}
        assert parents == {"contact", "course"}


def test_the_contact_waits_for_what_its_roll_ups_are_made_of() -> None:
    graph = defs.resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["delta", "contact"])).parent_keys

    assert {dg.AssetKey(["staging", name]) for name in ("enrollment", "completion", "learner_competency")} <= parents


@pytest.mark.parametrize(
    ("job", "left_out"),
    [
        ("full_reconcile", set()),
        ("apply", set()),
        ("plan", {"sync"}),
        ("incremental_pull", set()),
        ("sync_events", set()),
    ],
)
def test_a_job_touches_whole_layers(job: str, left_out: set[str]) -> None:
    selected = list(defs.resolve_job_def(job).asset_layer.executable_asset_keys)

    assert {key.path[0] for key in selected} == set(LAYERS) - left_out
    assert len(selected) == sum(len(names) for layer, names in LAYERS.items() if layer not in left_out)


def test_what_runs_by_itself_is_switched_on() -> None:
    assert {schedule.name for schedule in defs.schedules or []} == {
        "full_reconciles",
        "incremental_pulls",
        "fleet_watch",
        "nightly_purge",
    }
    assert [sensor.name for sensor in defs.sensors or []] == ["tenants_folder", "waiting_events", "alerts"]
