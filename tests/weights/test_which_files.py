"""Which files of a folder count, and what a folder without weights is."""

import json
from pathlib import Path

import pytest
import torch

from tasks.core.errors import CorruptError, InputError
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.checkpoint import read_checkpoint
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.side_files import side_files
from tests.weights.checkpoints import pair, write_checkpoint

TENSORS = {f"t{n}": torch.arange(6.0).reshape(2, 3) + n for n in range(3)}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4943162336\n"


def test_a_whole_file_beside_shards_is_refused(tmp_path: Path) -> None:
    """transformers would load the one, vLLM the others."""
    write_checkpoint(tmp_path, TENSORS)
    write_checkpoint(tmp_path, TENSORS, cuts=[2])
    with pytest.raises(InputError, match=r"transformers loads the first, vLLM the second; remove the one"):
        read_checkpoint(FolderSource(tmp_path))


def test_a_whole_file_beside_a_stale_index_is_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS, cuts=[2])
    for shard in tmp_path.glob("model-*"):
        shard.unlink()
    write_checkpoint(tmp_path, TENSORS)
    layout = read_checkpoint(FolderSource(tmp_path))
    assert layout.weight_files == ("model.safetensors",)
    assert layout.notices == (
        "model.safetensors.index.json names shards that are not there; model.safetensors is read",
    )


def test_an_index_of_the_whole_file(tmp_path: Path) -> None:
    """What this program writes."""
    write_checkpoint(tmp_path, TENSORS)
    index = {"weight_map": dict.fromkeys(TENSORS, "model.safetensors")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_checkpoint(FolderSource(tmp_path)).notices == ()


def test_other_copies_of_the_weights_are_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS)
    (tmp_path / "consolidated.safetensors").write_bytes(b"x")
    (tmp_path / "q4.gguf").write_bytes(b"x")
    assert read_checkpoint(FolderSource(tmp_path)).notices == ("not read: consolidated.safetensors, q4.gguf",)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["latest", "zero_to_fp32.py", "global_step100/"], "a DeepSpeed checkpoint.*zero_to_fp32"),
        (["pytorch_model_fsdp_0/"], "an FSDP checkpoint.*accelerate merge-weights"),
        (["__0_0.distcp"], "an FSDP checkpoint"),
        (["model_world_size_2_rank_0.pt"], r"a verl checkpoint.*verl\.model_merger"),
        (["snapshots/", "blobs/"], "a repository's folder in the Hub's cache; give the snapshot"),
        (["consolidated.00.pth", "params.json"], r"authors' own format \(consolidated.*Hugging Face form"),
        (["model-00001-of-00002.safetensors"], "shards without their index; fetch the index"),
        (["model.gguf"], "a GGUF file.*the checkpoint that it was made of"),
        (["model.pt"], "under another name; load them once"),
        (["config.json"], r"no model\.safetensors or .*; it holds config\.json"),
        ([], "it holds nothing"),
    ],
)
def test_folders_without_weights(tmp_path: Path, names: list[str], match: str) -> None:
    """Each kind with its own next step."""
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=match):
        read_checkpoint(FolderSource(tmp_path))


@pytest.mark.parametrize("cuts", [[], [2]])
def test_git_lfs_pointers(tmp_path: Path, cuts: list[int]) -> None:
    """The side and the checkpoint are named."""
    wanted, aligned, _ = pair(tmp_path)
    write_checkpoint(tmp_path / "clone", TENSORS, cuts)
    for file in (tmp_path / "clone").glob("*.safetensors"):
        file.write_text(LFS)
    clone = FolderSource(tmp_path / "clone")
    with pytest.raises(CorruptError, match=r"the SFT checkpoint .*/clone: .*a Git LFS pointer.*git lfs pull"):
        make_plan(wanted.model_copy(update={"sft": clone.checkpoint}), aligned, clone)


LEFTOVERS = [
    *("trainer_state.json", "all_results.json", "train_results.json", "trainer_log.jsonl", "runs.log"),
    *("llamaboard_config.yaml", "training_args.yaml", "training_args.bin", "Modelfile", "latest"),
    *("zero_to_fp32.py", "optimizer.bin", "scheduler.pt", "training_loss.png", "recipe.yaml", ".secret"),
    *("adapter_config.json", "rng_state_0.pth", "params.json", "README.md", "debug.py"),
]  # fmt: skip
NEEDED = [
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"),
    *("preprocessor_config.json", "LICENSE", "LICENSE.txt", "NOTICE", "tekken.json", "qwen.tiktoken"),
]  # fmt: skip


def test_only_what_a_model_needs_travels(tmp_path: Path) -> None:
    wanted, _, sft = pair(tmp_path)
    for name in (*LEFTOVERS, *NEEDED):
        (tmp_path / "aligned" / name).write_text('{"log": "/home/alice/project"}')
    (tmp_path / "aligned" / "config.json").write_text("{}")
    (tmp_path / "sft" / "config.json").write_text("{}")
    aligned, sft = FolderSource(tmp_path / "aligned"), FolderSource(tmp_path / "sft")
    wanted = wanted.model_copy(update={"aligned": aligned.checkpoint, "sft": sft.checkpoint})
    plan = make_plan(wanted, aligned, sft)
    assert set(plan.left_out) == set(LEFTOVERS)
    extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")))
    others = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert {name for name in others if "safetensors" not in name} == {*NEEDED, "manifest.json"}
    assert "alice" not in (tmp_path / "out" / "manifest.json").read_text()


def test_remote_code_travels_with_what_it_imports() -> None:
    code = ["configuration_x.py", "modeling_x.py", "visual.py"]
    assert side_files([*code, "train.py", "zero_to_fp32.py"]) == tuple(sorted(code))


@pytest.mark.parametrize("field", ["dtype", "torch_dtype"])
def test_a_stated_dtype_is_in_the_config_too(tmp_path: Path, field: str) -> None:
    """transformers loads what the config says, whatever the tensors are."""
    wanted, _, _ = pair(tmp_path)
    config = {"architectures": ["X"], field: "bfloat16", "z": 1, "a": 2}
    for side in ("aligned", "sft"):
        (tmp_path / side / "config.json").write_text(json.dumps(config))
    aligned, sft = FolderSource(tmp_path / "aligned"), FolderSource(tmp_path / "sft")
    update = {"aligned": aligned.checkpoint, "sft": sft.checkpoint, "output_dtype": "float32"}
    plan = make_plan(wanted.model_copy(update=update), aligned, sft)
    assert plan.notices == ("config.json: its dtype is set to float32, so that the model loads as written",)
    extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")))
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written == config | {field: "float32"} and list(written) == list(config)
