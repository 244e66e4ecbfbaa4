"""The files of deploy/, read: documents, pods, and the Job that the run launcher makes of its configuration."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes
import yaml
from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
PRODUCTION = DEPLOY / "kubernetes" / "overlays" / "production"
COMPOSE = DEPLOY / "compose"
CELERY = DEPLOY / "celery"

# Configuration of Dagster and Kustomize, no manifests.
_OTHERS = {"dagster.yaml", "workspace.yaml", "kustomization.yaml"}


@cache
def read(file: Path) -> Any:
    """The content of a file with one document."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@cache
def manifests(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Each document of a folder's manifests, with its file's name."""
    return list(_manifests(folder))


def _manifests(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(folder.glob("*.yaml")):
        if file.name not in _OTHERS:
            for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
                yield file.name, document


@cache
def run_job() -> dict[str, Any]:
    """The Job of a run, as Dagster makes it of the launcher's configuration, but for its arguments."""
    config = read(BASE / "dagster.yaml")["run_launcher"]["config"]
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(
            job_image="registry.example.org/lms-crm-assets:1",
            dagster_home=config["dagster_home"],
            service_account_name=config["service_account_name"],
            instance_config_map=config["instance_config_map"],
            env_config_maps=config["env_config_maps"],
        ),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run-1",
        component="run_worker",
        user_defined_k8s_config=UserDefinedDagsterK8sConfig(**config["run_k8s_config"]),
    )
    found: dict[str, Any] = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    return found


@cache
def pods() -> dict[str, dict[str, Any]]:
    """The pod template of each workload by its name; `run` is a run's."""
    found = {
        document["metadata"]["name"]: document["spec"]["template"]
        for _, document in manifests(BASE)
        if document["kind"] == "Deployment"
    }
    return {**found, "run": run_job()["spec"]["template"]}


def variables(pod: dict[str, Any]) -> set[str]:
    """The environment variables that a pod's container is given, beside the image's own."""
    container = pod["spec"]["containers"][0]
    (environment,) = (document for file, document in manifests(BASE) if file == "environment.yaml")
    return {each["name"] for each in container.get("env", [])} | set(environment["data"])


def from_environment(config: Any) -> set[str]:
    """The variables that a Dagster configuration takes values from."""
    if isinstance(config, dict):
        # `env` with a list is a container's.
        if isinstance(config.get("env"), str):
            return {config["env"]}
        return set().union(*map(from_environment, config.values()))
    return set().union(*map(from_environment, config)) if isinstance(config, list) else set()
