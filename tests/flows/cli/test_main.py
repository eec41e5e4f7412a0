"""The `expo` command as its users run it: in a process of its own."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.waiting import LIMIT
from tests.weights.checkpoints import write_checkpoint

LOADED = "import sys; from flows.cli.main import main; sys.argv = {arguments!r}; main()"


def expo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """An SFT and an aligned checkpoint, cut into shards differently."""
    generator = torch.Generator().manual_seed(0)
    tensors = {f"model.layers.{i}.weight": torch.randn(64, 32, generator=generator) for i in range(4)}
    moved = {
        name: tensor + 0.01 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in tensors.items()
    }
    write_checkpoint(tmp_path / "sft", tensors, cuts=(1,))
    write_checkpoint(tmp_path / "aligned", moved, cuts=(2, 3))
    return str(tmp_path / "sft"), str(tmp_path / "aligned")


def test_extrapolate_writes_the_model(pair: tuple[str, str], tmp_path: Path) -> None:
    (sft, aligned), out = pair, tmp_path / "out"
    done = expo("extrapolate", "--sft", sft, "--aligned", aligned, "--alpha", "0.5", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "3 shards" in done.stdout
    index = json.loads((out / "model.safetensors.index.json").read_text())
    for name, file in index["weight_map"].items():
        old = _tensor(Path(sft), name)
        new = _tensor(Path(aligned), name)
        torch.testing.assert_close(load_file(out / file)[name], new + 0.5 * (new - old))


@pytest.mark.slow
def test_extrapolate_loads_neither_torch_nor_prefect_nor_vllm(pair: tuple[str, str], tmp_path: Path) -> None:
    """What a researcher with two checkpoints waits for is the disk, not imports."""
    arguments = ["expo", "extrapolate", "--sft", pair[0], "--aligned", pair[1], "--alpha", "1"]
    code = LOADED.format(arguments=[*arguments, "--out", str(tmp_path / "out")]).replace(
        "main()", "\ntry:\n    main()\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    modules = set(eval(done.stdout.splitlines()[-1]))
    assert "tasks.weights.compiled" in modules, "the loops have run"
    assert not modules & {"torch", "prefect", "vllm", "transformers", "alpaca_eval", "matplotlib"}


def test_help_loads_nothing_heavy() -> None:
    code = LOADED.format(arguments=["expo", "--help"]).replace(
        "main()", "\ntry:\n    main()\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert "extrapolate" in done.stdout and "Model extrapolation" in done.stdout
    assert not set(eval(done.stdout.splitlines()[-1])) & {
        *("torch", "prefect", "numpy", "vllm", "fsspec", "pydantic", "yaml")
    }


def test_check_loads_neither_search_nor_comparison(pair: tuple[str, str]) -> None:
    """It reads headers; imports were once more than half of its time for 20,000 tensors."""
    code = LOADED.format(arguments=["expo", "check", "--sft", pair[0], "--aligned", pair[1]]).replace(
        "main()", "\ntry:\n    main()\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    modules = set(eval(done.stdout.splitlines()[-1]))
    packages = {module.split(".")[1] for module in modules if module.startswith("tasks.")}
    assert "weights" in packages
    assert not packages & {"search", "comparison", "generation", "reports"}


def test_version() -> None:
    done = expo("--version")
    assert done.returncode == 0 and done.stdout.strip() == f"expo-flows {version('expo-flows')}"


def test_check_says_what_the_extrapolation_needs(pair: tuple[str, str]) -> None:
    done = expo("check", "--sft", pair[0], "--aligned", pair[1], "--alpha", "0.3")
    assert done.returncode == 0, done.stderr
    assert "8,192" in done.stdout and "3 shards" in done.stdout


def test_families_lists_every_family() -> None:
    done = expo("families")
    assert done.returncode == 0 and "tulu-2-dpo-70b" in done.stdout and "8.13 → 8.26" in done.stdout


def test_bad_input_is_one_clear_line_and_status_2() -> None:
    """The status that the shell sees; what else is refused in this way is in test_bad_input.py."""
    done = expo("check", "zephyr")
    assert done.returncode == 2
    assert "no family 'zephyr'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_temporary_server_that_does_not_start_is_one_clear_line(tmp_path: Path) -> None:
    """It has a database to make first, which takes longer than the second that it gets here."""
    limit = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1"}
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")} | limit
    command = [sys.executable, "-m", "flows.cli", "run", "demo", "--store", str(tmp_path / "store")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1, done.stderr
    assert "error: the temporary Prefect server did not start" in done.stderr


def test_mismatch_names_every_tensor(pair: tuple[str, str], tmp_path: Path) -> None:
    tensors = {"model.layers.0.weight": torch.zeros(64, 31), "lm_head.weight": torch.zeros(2)}
    write_checkpoint(tmp_path / "other", tensors)
    out = tmp_path / "out"
    done = expo(
        "extrapolate",
        "--sft",
        str(tmp_path / "other"),
        "--aligned",
        pair[1],
        "--alpha",
        "1",
        "--out",
        str(out),
    )
    assert done.returncode == 2
    for name in ("lm_head.weight", "model.layers.0.weight", "model.layers.3.weight"):
        assert name in done.stderr
    assert not out.exists()


def _tensor(folder: Path, name: str) -> torch.Tensor:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return load_file(folder / index["weight_map"][name])[name]
