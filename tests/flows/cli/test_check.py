"""`expo check`: everything about a pair on one screen, and the options that it names."""

from pathlib import Path

import pytest
import torch

from tasks.stores.folder_source import FolderSource
from tasks.weights.hints import exchanged
from tasks.weights.manifest import read_manifest
from tests.flows.cli.command import Arguments, Command
from tests.weights.checkpoints import pair as checkpoints
from tests.weights.checkpoints import read_tensors, write_checkpoint


def test_check_shows_all_on_one_screen(expo: Command, tmp_path: Path) -> None:
    """Files, sizes, copies, what stays behind, memory and time; one line each."""
    _, aligned, sft = checkpoints(tmp_path)
    (tmp_path / "aligned" / "trainer_state.json").write_text("{}")
    done = expo("check", "--sft", sft.folder(), "--aligned", aligned.folder(), "--alpha", "0.3")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "model-00001-of-00003.safetensors, model-00002-of-00003.safetensors" in words
    assert "in 3 shards copies config.json" in words
    assert "notice not copied: trainer_state.json" in words
    assert "time about 1 s" in words
    assert len(done.stdout.splitlines()) <= 20


@pytest.mark.parametrize(
    ("sft", "aligned", "hint"),
    [
        ("zephyr-dpo", "zephyr", "sounds like an aligned model"),
        ("zephyr", "zephyr-sft", "sounds like the model before it"),
        ("zephyr-sft", "zephyr-dpo", None),
    ],
)
def test_check_hints_at_exchanged_sides(
    expo: Command, tmp_path: Path, sft: str, aligned: str, hint: str | None
) -> None:
    for side, value in ((aligned, 1.0), (sft, 2.0)):
        write_checkpoint(tmp_path / side, {"w": torch.full((3,), value)})
    said = " ".join(expo("check", "--sft", tmp_path / sft, "--aligned", tmp_path / aligned).stdout.split())
    question = "are --sft and --aligned exchanged?"
    assert (hint in said and question in said) if hint else question not in said


def test_check_reads_the_cards(expo: Command, tmp_path: Path) -> None:
    for side, value in (("one", 1.0), ("two", 2.0)):
        write_checkpoint(tmp_path / side, {"w": torch.full((3,), value)})
    sources = {side: FolderSource(tmp_path / side, f"org/{side}") for side in ("one", "two")}
    assert exchanged(sources["one"], sources["two"]) is None
    (tmp_path / "two" / "README.md").write_text("---\nlicense: mit\nbase_model: org/one\n---\n# Two\n")
    sources["two"] = FolderSource(tmp_path / "two", "org/two")
    assert "names the aligned side as its base model" in (exchanged(sources["one"], sources["two"]) or "")
    assert exchanged(sources["two"], sources["one"]) is None


def test_extra_and_allow(expo: Command, tmp_path: Path) -> None:
    """Refused with the option's name; with the option it is done, said, and in the manifest."""
    write_checkpoint(tmp_path / "aligned", {"w": torch.ones(3), "more": torch.ones(2)})
    write_checkpoint(tmp_path / "sft", {"w": torch.zeros(3)})
    (tmp_path / "aligned" / "config.json").write_text('{"rms_norm_eps": 1e-5}')
    (tmp_path / "sft" / "config.json").write_text('{"rms_norm_eps": 1e-6}')
    parents: Arguments = ["--sft", tmp_path / "sft", "--aligned", tmp_path / "aligned", "--alpha", "0.3"]
    refused = expo("check", *parents)
    assert refused.returncode == 2
    assert "--allow rms_norm_eps" in refused.stderr and "more: only in the aligned" in refused.stderr
    options: Arguments = ["--allow", "rms_norm_eps", "--extra", "aligned"]
    assert expo("check", *parents, *options).returncode == 0
    done = expo("extrapolate", *parents, *options, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "copied from the aligned side: more" in done.stdout
    manifest = read_manifest((tmp_path / "out" / "manifest.json").read_bytes())
    assert (manifest.copied, manifest.recipe.allow) == (("more",), ("rms_norm_eps",))
    assert "which was allowed" in manifest.notices[0]


def test_dequantize(expo: Command, tmp_path: Path) -> None:
    """The refusal names the option; with it both commands work, and the model card could repeat it."""
    for side, factor in (("aligned", 1.0), ("sft", 0.5)):
        weight = torch.full((3, 4), factor).to(torch.float8_e4m3fn)
        write_checkpoint(tmp_path / side, {"w.weight": weight, "w.weight_scale": torch.tensor(0.5)})
    parents: Arguments = ["--sft", tmp_path / "sft", "--aligned", tmp_path / "aligned", "--alpha", "1"]
    refused = expo("check", *parents)
    assert refused.returncode == 2 and refused.stderr.count("--dequantize") == 2
    assert "fp8 tensors are dequantized" in expo("check", *parents, "--dequantize").stdout
    done = expo("extrapolate", *parents, "--dequantize", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (weight,) = read_tensors(tmp_path / "out").values()
    assert torch.equal(weight, torch.full((3, 4), 0.75).bfloat16())
    assert expo("verify", tmp_path / "out", "--all").returncode == 0
