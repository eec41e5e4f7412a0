"""The work pools' templates, filled in by Prefect's own workers as for a run."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow, FlowRun

import deployments.job_templates
from deployments.job_templates import base_job_template
from tasks.core.errors import InputError
from tests.images.files import ROOT, manifests

NOBODY = "http://127.0.0.1:9/api"  # templates name no block, so nobody is asked


@pytest.mark.parametrize("gpus", [None, 4])
def test_kubernetes_job_is_strictly_valid(gpus: int | None) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    job = _kubernetes_job(gpus)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"].get("nvidia.com/gpu") == gpus
    assert bool(pod["tolerations"]) == bool(gpus)
    assert container["image"].startswith("expo-worker-gpu" if gpus else "expo-worker-cpu")
    assert container["envFrom"] == [{"secretRef": {"name": "expo-secrets"}}]
    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]


def test_kubernetes_job_may_run_where_the_manifests_say() -> None:
    """The namespace's Pod Security is `restricted`; the service account is one of worker.yaml."""
    job = _kubernetes_job(None)
    accounts = {
        manifest["metadata"]["name"] for manifest in manifests() if manifest["kind"] == "ServiceAccount"
    }
    pod = job["spec"]["template"]["spec"]
    assert job["spec"]["template"]["metadata"]["labels"]["app"] == "expo-run"  # the network policy's
    assert job["metadata"]["namespace"] == "expo" and pod["serviceAccountName"] in accounts
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("gpu", [False, True])
def test_docker_container_is_what_docker_py_takes(gpu: bool) -> None:
    from prefect_docker.worker import DockerWorkerJobConfiguration  # type: ignore[import-untyped]

    # by name: to mypy the folder docker/ hides the package
    HostConfig = import_module("docker.types").HostConfig

    filled = _filled(DockerWorkerJobConfiguration, base_job_template("docker", gpu=gpu), {})
    assert filled.volumes[0] == "/etc/expo/worker.env:/run/secrets/expo.env:ro"
    settings = dict(filled.container_create_kwargs)
    assert settings.pop("healthcheck") == {"test": ["NONE"]}
    host = HostConfig(version="1.44", binds=filled.volumes, mem_limit=filled.mem_limit, **settings)
    assert host["ShmSize"] == 8 * 2**30 and host["CapDrop"] == ["ALL"]
    assert [request["Count"] for request in host.get("DeviceRequests", ())] == ([-1] if gpu else [])


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
@pytest.mark.parametrize("gpu", [False, True])
def test_deployments_job_variables_fit(kind: Any, gpu: bool) -> None:  # noqa: ANN401 - a literal
    """What prefect.yaml and a parent of families ask for is valid in every kind of pool."""
    from jsonschema import validate  # type: ignore[import-untyped]

    schema = base_job_template(kind, gpu=gpu)["variables"]
    for deployment in yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text())["deployments"]:
        validate(deployment["work_pool"]["job_variables"] | {"gpus": 4}, schema)


def test_a_process_has_no_temporary_folder() -> None:
    from prefect.workers.process import ProcessJobConfiguration

    assert _filled(ProcessJobConfiguration, base_job_template("process"), {}).working_dir == Path()


def test_template_that_prefect_has_changed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "process.yaml").write_text(
        "[{op: replace, path: /variables/properties/gone/default, value: 1}]"
    )
    monkeypatch.setattr(deployments.job_templates, "CHANGES", tmp_path)
    with pytest.raises(
        InputError, match=r"process.yaml: does not fit Prefect's template for process workers"
    ):
        base_job_template("process")


def _kubernetes_job(gpus: int | None) -> dict[str, Any]:
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = base_job_template("kubernetes", gpu=gpus is not None)
    filled = _filled(KubernetesWorkerJobConfiguration, template, {"gpus": gpus} if gpus else {})
    manifest: dict[str, Any] = filled.job_manifest
    return manifest


def _filled(configuration: Any, template: dict[str, Any], variables: dict[str, Any]) -> Any:  # noqa: ANN401
    """A job as a worker makes it of a run, short of sending it."""
    filled = asyncio.run(
        configuration.from_template_and_values(template, variables, client=PrefectClient(NOBODY))
    )
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="zephyr-7b-beta")
    filled.prepare_for_flow_run(run, flow=Flow(id=uuid4(), name="expo-family", labels={}))
    return filled
