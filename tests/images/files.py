"""What docker/ and deployments/ say: read once for the tests, as plain values."""

import re
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

__all__ = ["DOCKER", "KUBERNETES", "ROOT", "commands", "compose", "environment", "manifests", "tool"]

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
KUBERNETES = ROOT / "deployments" / "kubernetes"


def tool(name: str) -> str:
    """A linter's program: beside this interpreter or on the PATH; without it the test is skipped."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no `{name}` here; the extra `test` brings the linters, `kubectl` is the cluster's own")
    return found


@cache
def compose() -> dict[str, Any]:
    """docker/compose.yaml, its anchors merged."""
    read: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return read


@cache
def manifests() -> tuple[dict[str, Any], ...]:
    """Every object of deployments/kubernetes."""
    files = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")
    return tuple(manifest for path in files for manifest in yaml.safe_load_all(path.read_text()))


def commands() -> Iterator[tuple[str, list[str]]]:
    """(where it stands, the command) of every container of this project's images that has one."""
    for name, service in compose()["services"].items():
        if service["image"].startswith("expo-"):
            yield f"compose {name}", service["command"]
    for where, container in _containers():
        yield where, container["args"]
    for path in DOCKER.glob("*.Dockerfile"):
        for line in re.findall(r"^CMD (\[.*\])$", path.read_text(), re.MULTILINE):
            yield path.name, yaml.safe_load(line)


def environment() -> Iterator[tuple[str, str, str]]:
    """(where it stands, variable, value or "") of every variable that a container is given by name."""
    for name, service in compose()["services"].items():
        for variable, value in service.get("environment", {}).items():
            yield f"compose {name}", variable, str(value)
    for where, container in _containers():
        for entry in container.get("env", ()):
            yield where, entry["name"], entry.get("value", "")
    for entry in manifests():
        if entry["kind"] == "ConfigMap":
            for variable, value in entry["data"].items():
                yield f"configmap {entry['metadata']['name']}", variable, value
    for path in DOCKER.glob("*.env.example"):
        for variable, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
            yield path.name, variable, value
    for path in DOCKER.glob("*.Dockerfile"):
        for block in re.findall(r"^ENV ((?:.*\\\n)*.*)$", path.read_text(), re.MULTILINE):
            for variable, value in re.findall(r"(\w+)=(\S+)", block):
                yield path.name, variable, value


def _containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests():
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
            yield f"{manifest['kind'].lower()} {manifest['metadata']['name']}", container
