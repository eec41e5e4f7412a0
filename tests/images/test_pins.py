"""One version, one place to install it: what the images install is what the Makefile installs."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from tests.images.files import DOCKER, KUBERNETES, ROOT, compose
from tests.servers.s3 import weed_program

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().split()
    return dict(line.lower().replace("_", "-").split("==") for line in lines)


CONSTRAINTS, WORKER = _pins("constraints.txt"), _pins("constraints-worker.txt")
WORKERS = ("cpu", "gpu")


def test_cpu_image_installs_as_the_makefile_does() -> None:
    """The engine's environment: torch first and alone, the rest under the constraints, without the three."""
    makefile = [_normal(step) for step in _pip_steps(_recipe(), r"\$\(PIP\)")]
    engine, _ = _build_steps("cpu")
    image = [_normal(step) for step in _pip_steps(engine, "pip")]
    assert image == [[word.replace("run,cpu", "cpu") for word in step] for step in makefile]


@pytest.mark.parametrize("name", WORKERS)
def test_workers_are_of_the_workers_constraints(name: str) -> None:
    """Without vLLM, which holds Prefect back; torch first and alone here too."""
    steps = [_normal(step) for step in _pip_steps(_build_steps(name)[-1], "pip")]
    constraints = ["install", "-c", "constraints-worker.txt"]
    assert steps[0] == [*constraints, "$TORCH"] and steps[-1] == [*constraints, ".[$EXTRAS]"]
    assert set(_arguments(name)["EXTRAS"].split(",")) <= set(PROJECT["optional-dependencies"])


def test_workers_prefect_is_not_held_back() -> None:
    """The pin belongs to the combination with vLLM: constraints.txt."""
    engine, worker = (tuple(map(int, pins["prefect"].split("."))) for pins in (CONSTRAINTS, WORKER))
    assert engine < worker


@pytest.mark.parametrize("name", WORKERS)
def test_torch_is_the_constraints(name: str) -> None:
    torch = _arguments(name)["TORCH"].partition("==")[2].partition("+")[0]
    assert torch == CONSTRAINTS["torch"] == WORKER["torch"]
    assert f"torch=={torch}" in (ROOT / "Makefile").read_text()


def test_cpu_torch_is_the_makefile_s() -> None:
    makefile = (ROOT / "Makefile").read_text()
    arguments = _arguments("cpu")
    assert re.search(rf"^TORCH\s*:= {re.escape(arguments['TORCH'])}$", makefile, re.MULTILINE)
    assert re.search(rf"^TORCH_INDEX := {re.escape(arguments['TORCH_INDEX'])}$", makefile, re.MULTILINE)


def test_gpu_image_is_the_vllm_of_the_extra() -> None:
    vllm, _ = PROJECT["optional-dependencies"]["gpu"]
    assert f"vllm=={_arguments('gpu')['VLLM'].removeprefix('v')}" == vllm


def test_python_is_the_project_s() -> None:
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    for name in (*WORKERS, "server"):
        assert _arguments(name)["PYTHON"].partition("-")[0] == "3.11"


def test_server_image_has_the_workers_prefect() -> None:
    found = dict(re.findall(r"(prefect[\w-]*)==([\d.]+)", (DOCKER / "server.Dockerfile").read_text()))
    assert found == {name: WORKER[name] for name in ("prefect", "prefect-redis")}


def test_own_images_have_the_project_s_version() -> None:
    version = PROJECT["version"]
    files = [*DOCKER.glob("*.Dockerfile"), DOCKER / "compose.yaml", *(ROOT / "deployments/pools").glob("*")]
    for path in files:
        for image, tag in re.findall(r"(expo-(?:server|worker-\w+)):(\S+)", path.read_text()):
            assert tag == version, f"{path.name}: {image}:{tag}"
    for path in DOCKER.glob("*.Dockerfile"):
        last = re.split(r"^FROM ", path.read_text(), flags=re.M)[-1]
        assert f"org.opencontainers.image.version={version} " in last, path.name
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    assert {image["newTag"] for image in kustomization["images"]} == {version}


def test_other_images_are_pinned() -> None:
    for name, service in compose()["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.match(r"\d+\.\d+", tag), f"{name}: {service['image']}"


def test_s3_server_is_the_tested_one() -> None:
    said = subprocess.run([weed_program(), "version"], capture_output=True, text=True).stdout
    assert compose()["services"]["s3"]["image"].partition(":")[2] in said


def test_images_do_not_run_as_root() -> None:
    for path in DOCKER.glob("*.Dockerfile"):
        assert re.findall(r"^USER (.+)$", path.read_text(), re.MULTILINE) == ["10001:10001"], path.name


@pytest.mark.slow
def test_wheel_has_every_file_that_the_code_reads(tmp_path: Path) -> None:
    """The images install a wheel; a template left out of it is missed only when a report is written."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "flows", "tasks"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in [*listed, "pyproject.toml", "README.md", "LICENSE"]:
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, *build, "--wheel-dir", "wheels", "."], cwd=tmp_path, check=True)
    (wheel,) = (tmp_path / "wheels").iterdir()
    expected = {name.removeprefix("flows/installed/") for name in listed if (ROOT / name).exists()}
    assert expected <= set(ZipFile(wheel).namelist())


def _arguments(name: str) -> dict[str, str]:
    """The build arguments and their defaults."""
    text = (DOCKER / f"{name}.Dockerfile").read_text()
    return dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))


def _recipe() -> str:
    return (ROOT / "Makefile").read_text().partition("$(VENV)/.demo: ")[2].partition("\n\n")[0]


def _build_steps(name: str) -> list[str]:
    text = (DOCKER / f"{name}.Dockerfile").read_text().partition("COPY constraints")[2].partition("FROM")[0]
    return [str(step) for step in re.findall(r"^RUN .*\\\n((?:.*\\\n)*.*)$", text, re.MULTILINE)]


def _pip_steps(text: str, pip: str) -> list[str]:
    return re.findall(rf"(?:^|[\t&{{|] ?){pip} ((?:install|uninstall)[^|&;\n\\]*)", text, re.MULTILINE)


def _normal(step: str) -> list[str]:
    """A pip command's words, without what differs in the telling."""
    text = step.replace("$(TORCH)", "$TORCH").replace("$(TORCH_INDEX)", "$TORCH_INDEX")
    return [word.strip("\"'") for word in shlex.split(text) if word not in ("-q", "-e")]
