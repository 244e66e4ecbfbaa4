"""What the files of deploy/ say of commands, variables, Dagster and compose is so."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import pytest
from dagster._cli import cli as dagster_cli
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.ref import InstanceRef
from dagster._daemon.cli import cli as daemon_cli
from dagster._serdes import ConfigurableClassData
from dagster._serdes.config_class import class_from_code_pointer
from dagster_webserver.cli import dagster_webserver
from typer.main import get_command

from lms_crm_assets.cli.app import app
from lms_crm_assets.contract.loading import load_contract, tenant_names
from tests.deploy.manifests import BASE, CELERY, COMPOSE, DEPLOY, PRODUCTION, from_environment, pods, read, variables

ROOT = DEPLOY.parent
SERVICES: dict[str, dict[str, Any]] = read(COMPOSE / "compose.yaml")["services"]
OURS = {name: service for name, service in SERVICES.items() if name not in {"postgres", "proxy"}}
# Typer brings a click of its own.
COMMANDS: dict[str, Any] = {
    "dagster": dagster_cli,
    "dagster-daemon": daemon_cli,
    "dagster-webserver": dagster_webserver,
    "lms-crm": get_command(app),
}
# Of Dagster, and of Postgres' image; the others are looked for in what reads them.
KNOWN = {"DAGSTER_HOME", "DAGSTER_CURRENT_IMAGE", "POSTGRES_PASSWORD_FILE"}


def _commands() -> Iterator[tuple[str, list[str]]]:
    for name, pod in pods().items():
        container = pod["spec"]["containers"][0]
        if name != "run":
            yield name, container["args"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if "exec" in container.get(probe, {}):
                yield name, container[probe]["exec"]["command"]
    for name, service in OURS.items():
        yield name, service["command"]
        if "healthcheck" in service:
            yield name, service["healthcheck"]["test"][1:]
    yield "image", json.loads(re.findall(r"^CMD (.*)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)[0])


def test_every_command_is_one_of_ours_or_of_dagsters_with_its_options() -> None:
    assert len(list(_commands())) > 12
    for where, (program, *words) in _commands():
        if program == "python":
            assert words[0] == "-c", where
            compile(words[1], where, "exec")
            continue
        command = COMMANDS[program]
        while hasattr(command, "commands"):
            if words[0] == "--help":
                break
            command = command.commands[words.pop(0)]
        if words != ["--help"]:
            here = [word.replace("/opt/dagster", str(COMPOSE)) for word in words]
            # Raises where an option is unknown, one is missing or a file is not there; runs nothing.
            command.make_context(where, here)


def test_every_variable_is_read_by_somebody() -> None:
    dagsters = from_environment(read(BASE / "dagster.yaml")) | from_environment(read(COMPOSE / "dagster.yaml"))
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "lms_crm_assets").rglob("*.py"))
    caddy = (COMPOSE / "Caddyfile").read_text(encoding="utf-8")
    given = set().union(
        *map(variables, pods().values()), *(service.get("environment", {}) for service in SERVICES.values())
    )

    assert len(given) > 12
    for name in given - KNOWN - dagsters:
        assert name in code or f"{{${name}}}" in caddy, name


def test_compose_takes_the_file_and_each_service_has_what_it_reads() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    document = read(COMPOSE / "compose.yaml")
    jsonschema.Draft7Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(document)

    wanted = from_environment(read(COMPOSE / "dagster.yaml"))
    for name, service in OURS.items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        places = {f"/run/secrets/{secret}" for secret in service.get("secrets", [])}
        paths = {value for value in service["environment"].values() if value.startswith("/")}
        assert paths <= places, name
        if any("dagster.yaml" in volume for volume in service["volumes"]):
            assert wanted <= set(service["environment"]), name
    for secret in set().union(*(service.get("secrets", []) for service in SERVICES.values())):
        assert secret in document["secrets"]
        assert f"secrets/{secret}" in (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    for volume in [volume for service in SERVICES.values() for volume in service["volumes"]]:
        source = volume.partition(":")[0]
        assert source in document["volumes"] or source == "./secrets/credentials" or (COMPOSE / source).exists(), volume
    # The UI and the code location ask nobody who they are.
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["webserver", "proxy"]
    assert [port.startswith("127.0.0.1:") for port in SERVICES["webserver"]["ports"]] == [True]


@pytest.mark.parametrize("folder", [BASE, COMPOSE, CELERY], ids=["kubernetes", "compose", "celery"])
def test_dagster_takes_the_configuration_and_limits_are_those_of_one_machine(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, root = read(folder / "dagster.yaml"), read(ROOT / "dagster.yaml")
    for name in from_environment(here):
        monkeypatch.setenv(name, "something")
    ref = InstanceRef.from_dir(str(folder))
    parts = [each for each in ref if isinstance(each, ConfigurableClassData)]

    assert {"DagsterPostgresStorage", "QueuedRunCoordinator"} <= {each.class_name for each in parts}
    launchers = {"PodRunLauncher": BASE, "TaskRunLauncher": CELERY}
    found = {each.class_name for each in parts} & launchers.keys()
    assert found == {name for name, place in launchers.items() if place == folder}
    for each in parts:
        if each.module_name != "dagster._core.storage.legacy_storage":
            kind: Any = class_from_code_pointer(each.module_name, each.class_name)
            result = process_config(resolve_to_config_type(kind.config_type()), each.config_dict)
            assert result.success, (each.class_name, result.errors)
    for name in ("concurrency", "run_coordinator", "retention", "telemetry"):
        assert here[name] == root[name], name
    assert root["run_monitoring"].items() <= here["run_monitoring"].items()


def test_celerys_services_go_over_those_of_compose() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    document = read(CELERY / "compose.yaml")
    jsonschema.Draft7Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(document)

    services = document["services"]
    # Who reads dagster.yaml gets this one, and what it reads; none is forgotten.
    readers = {name for name, each in OURS.items() if any("/opt/dagster/dagster.yaml" in v for v in each["volumes"])}
    assert services.keys() - {"redis", "run-worker"} == readers
    for name in {*readers, "run-worker"}:
        assert services[name]["volumes"] == ["../celery/dagster.yaml:/opt/dagster/dagster.yaml:ro"], name
        assert from_environment(read(CELERY / "dagster.yaml")) <= {
            *OURS.get(name, OURS["code-location"])["environment"],
            *services[name]["environment"],
        }, name
    # The runs are launched and ended from there, and taken here.
    on_the_queue = {name for name, each in services.items() if "runs" in each.get("networks", [])}
    assert on_the_queue == {"redis", "run-worker", "daemon", "webserver"}
    assert document["networks"]["runs"] == {"internal": True}
    for name in on_the_queue & readers:
        assert set(OURS[name]["networks"]) <= set(services[name]["networks"]), name


def test_there_is_room_for_all_runs_at_once_on_celerys_workers() -> None:
    worker = read(CELERY / "compose.yaml")["services"]["run-worker"]
    *words, concurrency = worker["command"]
    # As tests/e2e/test_run_workers.py starts it.
    assert words == ["celery", "--app", "lms_crm_assets.defs.run_workers", "worker", "--concurrency"]
    room = int(concurrency) * worker["deploy"]["replicas"]
    assert room == read(CELERY / "dagster.yaml")["concurrency"]["runs"]["max_concurrent_runs"]


def test_a_wrong_word_in_dagsters_configuration_is_refused(tmp_path: Path) -> None:
    text = (BASE / "dagster.yaml").read_text(encoding="utf-8")
    (tmp_path / "dagster.yaml").write_text(text.replace("poll_interval_seconds", "poll_interval"), encoding="utf-8")

    with pytest.raises(dg.DagsterInvalidConfigError, match="poll_interval"):
        InstanceRef.from_dir(str(tmp_path))


@pytest.mark.parametrize("folder", [PRODUCTION, COMPOSE], ids=["kubernetes", "compose"])
def test_the_example_contracts_need_nothing_but_mounted_files(folder: Path) -> None:
    text = (folder / "tenants" / "globex.yaml").read_text(encoding="utf-8")
    contract = load_contract(folder / "tenants", "globex", environ={})

    assert tenant_names(folder / "tenants") == ["globex"]
    assert contract.has_inbox
    assert "env:" not in text
    assert set(re.findall(r"file:(/[\w/-]+)/[\w-]+", text)) == {"/run/secrets/lms-crm"}


def test_the_image_gets_the_packages_that_are_tested() -> None:
    tested, shipped = _pins(ROOT / "requirements.lock"), _pins(DEPLOY / "requirements.lock")

    assert {"dagster", "dagster-postgres", "dagster-k8s", "duckdb", "hatchling"} <= set(shipped)
    assert "pytest" not in shipped
    assert {name: pin for name, pin in shipped.items() if name in tested and tested[name] != pin} == {}
    # Only the traces' packages are not there.
    assert [n for n in shipped if n not in tested and not n.startswith(("opentelemetry-", "googleapis-"))] == []


def _pins(lock: Path) -> dict[str, str]:
    # On which platforms a package is needed hangs on who needs it.
    text = re.sub(r" ; .* \\$", r" \\", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    blocks = re.split(r"\n(?=\S)", text)
    return {re.split(r"[=\[ ;]", block, maxsplit=1)[0]: block.strip() for block in blocks}
