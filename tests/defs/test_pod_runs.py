"""The launcher of the cluster knows which runs are its own."""

import json
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.launcher import WorkerStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test

from lms_crm_assets.defs.pod_runs import PodRunLauncher

# Nobody listens there.
CLUSTER = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "none", "user": {}}],
}


@pytest.fixture
def launcher(tmp_path: Path) -> PodRunLauncher:
    (tmp_path / "config").write_text(yaml.safe_dump(CLUSTER), encoding="utf-8")
    return PodRunLauncher(
        service_account_name="lms-crm-run",
        instance_config_map="lms-crm-dagster",
        dagster_home="/opt/dagster",
        load_incluster_config=False,
        kubeconfig_file=str(tmp_path / "config"),
        only_allow_user_defined_k8s_config_fields={},
        only_allow_user_defined_env_vars=[],
    )


def test_a_run_in_the_workers_own_process_is_not_taken_for_dead(launcher: PodRunLauncher) -> None:
    @dg.op
    def see(context: dg.OpExecutionContext) -> None:
        run = context.instance.get_run_by_id(context.run_id)
        assert run is not None
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING

    @dg.job
    def events() -> None:
        see()

    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        assert events.execute_in_process(instance=instance).success


def test_a_run_that_came_by_the_queue_is_asked_for_in_the_cluster(launcher: PodRunLauncher) -> None:
    origin = RemoteJobOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("lms_crm_assets"), "__repository__"), "full_reconcile"
    )
    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        run = create_run_for_test(
            instance, "full_reconcile", status=dg.DagsterRunStatus.STARTED, remote_job_origin=origin
        )
        health = launcher.check_run_worker_health(run)

    assert health.status is WorkerStatus.UNKNOWN
    assert health.msg is not None
    assert "127.0.0.1" in health.msg


def test_a_persons_tags_do_not_choose_what_a_pod_may_do(launcher: PodRunLauncher) -> None:
    tags = {"dagster-k8s/config": json.dumps({"pod_spec_config": {"service_account_name": "lms-crm-launcher"}})}
    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        run = create_run_for_test(instance, "full_reconcile", tags=tags)
        with pytest.raises(Exception, match=r"pod_spec_config\.service_account_name"):
            launcher.get_container_context_for_run(run)
