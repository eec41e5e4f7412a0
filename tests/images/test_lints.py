"""The linters of each kind of file. No container engine runs here: these are what can be checked."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.images.files import DOCKER, KUBERNETES, ROOT, manifests, tool

DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfile_with_hadolint(path: Path) -> None:
    _passes(tool("hadolint"), str(path))


def test_compose_file_with_its_schema() -> None:
    _passes(
        tool("check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        str(DOCKER / "compose.yaml"),
    )


def test_yaml_with_yamllint() -> None:
    _passes(tool("yamllint"), "--strict", "docker", "deployments", ".github", "docs/site")


def test_hosted_ci_is_a_workflow_and_runs_what_ci_runs() -> None:
    """By its schema; `actionlint` itself comes as a program from GitHub alone."""
    workflow = ROOT / ".github/workflows/ci.yml"
    _passes(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(workflow))
    steps = yaml.safe_load(workflow.read_text())["jobs"]["test"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}


def test_manifests_with_strict_schemas() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for manifest in manifests():
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_kustomize_builds_what_the_files_say() -> None:
    done = _passes(tool("kubectl"), "kustomize", str(KUBERNETES))
    built = list(yaml.safe_load_all(done))
    assert {(manifest["kind"], manifest["metadata"]["name"]) for manifest in built} == {
        (manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests()
    }
    assert "image: expo-" not in done, "an image without a registry in kustomization.yaml"


@pytest.mark.parametrize("path", sorted(DOCKER.glob("*.sh")), ids=lambda path: path.name)
def test_script_is_posix_shell(path: Path) -> None:
    assert path.stat().st_mode & 0o111, f"{path.name} is not executable"
    _passes("sh", "-n", str(path))


def test_docker_is_no_package() -> None:
    """It would hide the package `docker` that Prefect imports."""
    assert not list(DOCKER.glob("*.py"))


def _passes(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
