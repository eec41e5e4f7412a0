"""Every example runs: the scripts on small pairs, the notebook on the demo's."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from safetensors.torch import save_file

from tests.waiting import LIMIT
from tests.weights.checkpoints import pair, write_checkpoint

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
IMPORTS = os.pathsep.join([str(ROOT), str(ROOT / "flows/installed")])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Run":
    return Run(monkeypatch, capsys)


class Run:
    """Runs a script of the examples in this process; gives what it prints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.syspath_prepend(str(ROOT / "flows/installed"))

    def __call__(self, script: str, *arguments: object) -> str:
        self._monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return self._capsys.readouterr().out


@pytest.fixture
def checkpoints(tmp_path: Path) -> tuple[Path, Path]:
    """(SFT, aligned)."""
    _, aligned, sft = pair(tmp_path)
    return sft.folder(), aligned.folder()


def test_every_example_has_a_test() -> None:
    tested = Path(__file__).read_text()
    assert [path.name for path in EXAMPLES.iterdir() if path.is_file() and path.name not in tested] == []


def test_own_pair(run: Run, checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    said = run("own_pair.py", *checkpoints, tmp_path / "out")
    assert "7,548 parameters" in said and "are as they should be" in said


def test_adapter(run: Run, tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj"
    torch.manual_seed(0)
    sft, adapter = tmp_path / "sft", tmp_path / "adapter"
    write_checkpoint(sft, {f"{name}.weight": torch.randn(32, 16)})
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    factors = {"lora_A": torch.randn(4, 16), "lora_B": torch.randn(32, 4)}
    save_file(
        {f"base_model.model.{name}.{factor}.weight": tensor for factor, tensor in factors.items()},
        adapter / "adapter_model.safetensors",
    )
    said = run("adapter.py", adapter, sft, tmp_path / "out")
    assert "at 1.3 times its scale" in said and "both are verified" in said


def test_several_alphas(run: Run, checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    said = run("several_alphas.py", *checkpoints, tmp_path / "out", "0.1", "0.3", "1")
    shares = [float(line.split("moved by ")[1].split("%")[0]) for line in said.splitlines()]
    assert shares[2] == pytest.approx(10 * shares[0], rel=0.02) and len(shares) == 3


def test_compare_judgments(run: Run, tmp_path: Path) -> None:
    for name, score in (("a", 5), ("b", 6)):
        rows = [
            {
                "question_id": question,
                "turn": turn,
                "score": score + question % 3,
                "judge": ["j", "single-v1"],
                "model": name,
            }
            for turn in (1, 2)
            for question in range(81, 161)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = run("compare_judgments.py", tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert "b against a, judged by j: better" in said and "difference +1.00" in said


@pytest.mark.slow
def test_family_with_prefect(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    """On a registry with one more family, whose checkpoints are made here; no engine and no judge."""
    sft, aligned = checkpoints
    registry, store = tmp_path / "families.yaml", tmp_path / "store"
    registry.write_text(
        f"my-pair: {{group: experimental, aligned: {aligned}, sft: {sft}, alpha: 0.3, "
        "alpha_source: a test, architecture: Llama}\n"
    )
    environment = os.environ | {
        "EXPO_FAMILIES": str(registry),
        "EXPO_STORE": str(store),
        "PYTHONPATH": IMPORTS,
    }
    command = [sys.executable, str(EXAMPLES / "family_with_prefect.py"), "my-pair"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"report: {store}/reports/")
    (model,) = (store / "models").iterdir()
    assert (model / "manifest.json").is_file()


@pytest.mark.slow
def test_first_model_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """first_model.ipynb: the curve of the rule's points rises with α, and falls in the end."""
    monkeypatch.setenv("PYTHONPATH", IMPORTS)
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(EXAMPLES / "first_model.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit the notebook without outputs"
    NotebookClient(notebook, timeout=LIMIT, kernel_name="python3").execute()
    printed = "".join(
        output["text"] for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    )
    points = {
        float(line.split()[2]): float(line.split()[3])
        for line in printed.splitlines()
        if line.startswith("α = ") and line.endswith("points")
    }
    assert points[2.0] > points[0.0] + 0.5 and points[16.0] < max(points.values())
    assert printed.count(" 0 differences") == 4
