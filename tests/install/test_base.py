"""The base installation in a fresh environment: its size, and the commands that it is for.

This interpreter's alone in `make test`; `make pythons` takes every one that is found. pip keeps the
wheels between runs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.install.interpreters import ROOT, interpreters
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.servers.s3 import BUCKET, S3Server
from tests.weights.checkpoints import write_checkpoint

pytestmark = pytest.mark.slow

LIMIT_MB = 600
LEFT_OUT = (
    "torch",
    "transformers",
    "vllm",
    "prefect",
    "alpaca_eval",
    "sklearn",
    "matplotlib",
    "scipy",
    "pandas",
)
Expo = Callable[..., subprocess.CompletedProcess[str]]


class Base(NamedTuple):
    """An environment with the base alone."""

    python: Path
    seconds: float
    megabytes: float


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a wheel, built from a copy of the files that git knows; or what `make release` built."""
    if built := os.environ.get("EXPO_TEST_WHEEL"):
        return Path(built)
    folder = tmp_path_factory.mktemp("wheel")
    names = ["flows", "tasks", "pyproject.toml", "README.md", "LICENSE"]
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *names]
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "out",
        ".",
    ]
    subprocess.run(build, cwd=folder, check=True)
    (wheel,) = (folder / "out").iterdir()
    return wheel


@pytest.fixture(scope="module", params=interpreters().items(), ids=lambda item: item[0])
def base(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    minor, program = request.param
    folder = tmp_path_factory.mktemp(f"base-{minor}") / "venv"
    subprocess.run([program, "-m", "venv", str(folder)], check=True)
    python, before = folder / "bin/python", _megabytes(folder)
    begin = time.monotonic()
    constraints = ["-c", str(ROOT / "constraints-worker.txt")]
    install = [
        str(python),
        "-I",  # a PYTHONPATH with the project's metadata would pass for an installation
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
        *constraints,
        str(wheel),
    ]
    subprocess.run(install, check=True)
    seconds = time.monotonic() - begin
    return Base(python, seconds, _megabytes(folder) - before)


@pytest.fixture
def expo(base: Base, tmp_path: Path) -> Expo:
    """Runs the command of the fresh environment, from a folder without the project's sources."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(base.python.with_name("expo")), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=own | variables, cwd=tmp_path
        )

    return run


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(SFT, aligned): two checkpoints of bf16 in two shards each."""
    folder = tmp_path_factory.mktemp("pair")
    generator = torch.Generator().manual_seed(0)
    sft = {f"model.layers.{i}.weight": torch.randn(64, 32, generator=generator) for i in range(4)}
    moved = {name: side + 0.01 * torch.randn(side.shape, generator=generator) for name, side in sft.items()}
    write_checkpoint(folder / "sft", {name: side.bfloat16() for name, side in sft.items()}, cuts=(2,))
    write_checkpoint(folder / "aligned", {name: side.bfloat16() for name, side in moved.items()}, cuts=(2,))
    return folder / "sft", folder / "aligned"


def test_size_and_what_it_leaves_out(base: Base) -> None:
    print(f"\n{base.python}: {base.megabytes:.0f} MB in {base.seconds:.0f} s")
    code = f"from importlib.util import find_spec; print([name for name in {LEFT_OUT!r} if find_spec(name)])"
    asked = subprocess.run([str(base.python), "-I", "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "[]"
    assert base.megabytes <= LIMIT_MB


def test_version_and_families(expo: Expo) -> None:
    assert expo("--version").stdout == f"expo-flows {version('expo-flows')}\n"
    assert "tulu-2-dpo-70b" in expo("families").stdout


def test_from_two_folders_to_a_verified_model(expo: Expo, pair: tuple[Path, Path], tmp_path: Path) -> None:
    both = ("--sft", pair[0], "--aligned", pair[1])
    assert "8,192" in expo("check", *both).stdout
    made = expo("extrapolate", *both, "--alpha", 0.3, "--out", tmp_path / "out", "--device", "auto")
    assert made.returncode == 0, made.stderr
    looked = expo("verify", tmp_path / "out", "--all")
    assert "4 tensors (computed again by numpy) are as they should be" in looked.stdout, looked.stderr
    shard = next((tmp_path / "out").glob("*.safetensors"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert expo("verify", tmp_path / "out").returncode == 1
    assert "nothing was removed" in expo("gc", tmp_path / "out").stderr  # no store, and gc says so


def test_one_import_has_the_library(base: Base, pair: tuple[Path, Path], tmp_path: Path) -> None:
    code = """
import sys, expo_flows as expo
sft, aligned, out = sys.argv[1:]
(model,) = expo.extrapolate(aligned, sft, 0.3, out)
assert expo.verify(model.uri, tensors=None).differences == ()
print(expo.check(aligned, sft).parameters, model.alpha)
"""
    command = [str(base.python), "-I", "-c", code, *map(str, pair), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.stdout == "8192 0.3\n", done.stderr


def test_from_s3_to_the_hub(
    expo: Expo, pair: tuple[Path, Path], s3_server: S3Server, hub: HubServer, tmp_path: Path
) -> None:
    variables = s3_server.environment() | hub.environment(tmp_path / "home", WRITE_TOKEN)
    hub.add("org/sft", pair[0])
    hub.add("org/aligned", pair[1])
    out = f"s3://{BUCKET}/base-{tmp_path.name}"
    parents = ("--sft", "org/sft", "--aligned", "org/aligned", "--stream")
    made = expo("extrapolate", *parents, "--alpha", 0.3, "--out", out, **variables)
    assert made.returncode == 0, made.stderr
    published = expo("publish", out, "lab/base-model", **variables)
    assert published.returncode == 0, published.stderr
    assert "lab/base-model" in hub.repos
    looked = expo("verify", "lab/base-model", **variables)
    assert looked.returncode == 0, looked.stderr


def test_what_needs_more_says_so(expo: Expo, pair: tuple[Path, Path], tmp_path: Path) -> None:
    ran = expo("run", "zephyr-7b-beta", "--judge-model", "gpt-4o")
    assert ran.returncode == 1
    assert ran.stderr.startswith(
        "error: a run needs more than is installed: pip install 'expo-flows[run,cpu]'"
    )
    cuda = ("--alpha", 1, "--out", tmp_path / "out", "--device", "cuda")
    made = expo("extrapolate", "--sft", pair[0], "--aligned", pair[1], *cuda)
    assert made.returncode == 2 and "pip install 'expo-flows[cuda]'" in made.stderr


def _megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6
