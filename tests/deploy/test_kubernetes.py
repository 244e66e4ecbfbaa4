"""The manifests are what Kubernetes takes, name what is there, and keep to what docs/deployment.md promises."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.manifests import BASE, DEPLOY, PRODUCTION, from_environment, manifests, pods, read, run_job, variables

DOCUMENT = (DEPLOY.parent / "docs" / "deployment.md").read_text(encoding="utf-8")
ALL = [*manifests(BASE), *manifests(PRODUCTION)]


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_takes_every_manifest_and_the_job_of_a_run(version: str) -> None:
    for _, document in [*ALL, ("the launcher's", run_job())]:
        kubernetes_validate.validate(document, version, strict=True)


def test_a_manifest_with_a_slip_is_refused() -> None:
    slip = deepcopy(next(document for file, document in ALL if file == "receiver.yaml"))
    slip["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}

    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProb"):
        kubernetes_validate.validate(slip, "1.37", strict=True)


@pytest.mark.parametrize("folder", [BASE, PRODUCTION])
def test_the_kustomization_knows_every_file_and_every_file_is_there(folder: Path) -> None:
    known = read(folder / "kustomization.yaml")
    listed = [*known["resources"], *(patch["path"] for patch in known.get("patches", []))]
    generated = [file for each in known["configMapGenerator"] for file in each["files"]]

    assert [name for name in [*listed, *generated] if not (folder / name).exists()] == []
    assert {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"} <= {*listed, *generated}


def test_a_patch_is_for_something_of_the_base() -> None:
    there = {(document["kind"], document["metadata"]["name"]) for _, document in manifests(BASE)}
    known = read(PRODUCTION / "kustomization.yaml")
    patches = [(d["kind"], d["metadata"]["name"]) for f, d in manifests(PRODUCTION) if {"path": f} in known["patches"]]
    targets = [each["select"] for replacement in known["replacements"] for each in replacement["targets"]]

    assert patches != []
    assert set(patches) | {(each["kind"], each["name"]) for each in targets} <= there
    location = pods()["code-location"]["spec"]["containers"][0]
    assert {each["name"]: each.get("value") for each in location["env"]}["DAGSTER_CURRENT_IMAGE"] == location["image"]
    assert location["image"].startswith(known["images"][0]["name"])


def test_what_a_pod_names_is_there_and_secrets_are_in_the_document() -> None:
    documented: dict[str, set[str]] = {}
    for name, rest in re.findall(r"create secret generic ([a-z-]+) ((?:.|\\\n)*?)\n(?=kubectl|```)", DOCUMENT):
        documented[name] = set(re.findall(r"--from-(?:file|literal)=([a-z.-]+)", rest))
    there = {(document["kind"], document["metadata"]["name"]) for _, document in ALL}
    for folder in (BASE, PRODUCTION):
        there |= {("ConfigMap", each["name"]) for each in read(folder / "kustomization.yaml")["configMapGenerator"]}

    contract = (PRODUCTION / "tenants" / "globex.yaml").read_text(encoding="utf-8")
    assert documented["lms-crm-credentials"] == set(re.findall(r"file:/run/secrets/lms-crm/([\w-]+)", contract))

    for name, pod in pods().items():
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in there, name
        container = pod["spec"]["containers"][0]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes), name
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there, name
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, name
            if "secret" in volume:
                assert volume["secret"]["secretName"] in documented, name
        for each in container.get("env", []):
            if ref := each.get("valueFrom", {}).get("secretKeyRef"):
                assert ref["key"] in documented[ref["name"]], name
        for source in container["envFrom"]:
            assert ("ConfigMap", source["configMapRef"]["name"]) in there, name


def test_every_pod_has_the_variables_that_dagster_reads_and_the_files_that_the_product_reads() -> None:
    wanted = from_environment(read(BASE / "dagster.yaml"))
    (environment,) = (document["data"] for file, document in manifests(BASE) if file == "environment.yaml")
    assert "DAGSTER_PG_PASSWORD" in wanted

    for name, pod in pods().items():
        mounts = [mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]]
        if name == "run" or "/opt/dagster" in mounts:
            assert wanted <= variables(pod), name
        if name not in {"daemon", "webserver"}:
            places = [
                place for value in environment.values() for place in re.findall(r"(?<![\w/])/[a-z][\w./-]+", value)
            ]
            assert len(places) > 4
            assert [place for place in places if not place.startswith(tuple(mounts))] == [], name


def test_no_pod_has_more_rights_than_it_needs_and_each_says_what_it_takes() -> None:
    for name, pod in pods().items():
        (container,) = pod["spec"]["containers"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"], name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
        assert "memory" in container["resources"]["limits"], name
        assert pod["spec"]["automountServiceAccountToken"] is (name in {"daemon", "webserver"}), name


def test_pods_that_use_the_state_go_to_one_node_and_no_other_pod_does() -> None:
    shared = {"lms-crm/state": "shared"}
    for name, pod in pods().items():
        uses = any(volume["name"] == "state" for volume in pod["spec"]["volumes"])
        assert (shared.items() <= pod["metadata"]["labels"].items()) is uses, name
        affinity = pod["spec"].get("affinity", {}).get("podAffinity", {})
        terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", [])
        assert [term["labelSelector"]["matchLabels"] for term in terms] == ([shared] if uses else []), name
        # The policy for what goes out, and the selectors of others, know pods by these.
        assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "lms-crm", name


def test_what_must_be_one_is_one_and_is_never_two_during_an_upgrade() -> None:
    found: dict[str, Any] = {
        document["metadata"]["name"]: document["spec"]
        for _, document in manifests(BASE)
        if document["kind"] == "Deployment"
    }

    for name in ("daemon", "worker", "code-location"):
        assert (found[name]["replicas"], found[name]["strategy"]) == (1, {"type": "Recreate"})
    assert found["receiver"]["replicas"] == 2
    (budget,) = (document["spec"] for _, document in ALL if document["kind"] == "PodDisruptionBudget")
    assert budget["selector"] == found["receiver"]["selector"]
    probes = found["receiver"]["template"]["spec"]["containers"][0]
    assert probes["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
