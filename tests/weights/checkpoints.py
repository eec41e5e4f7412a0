"""Checkpoints to test with: a few tensors in a few files, written in a moment."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.stores.folder_source import FolderSource
from tasks.weights.recipe import Recipe

Tensors = Mapping[str, Tensor]


def cut(tensors: Tensors, cuts: Sequence[int]) -> list[dict[str, Tensor]]:
    """The tensors in order, a new shard before each position of `cuts`."""
    shards: list[dict[str, Tensor]] = [{}]
    for position, (name, tensor) in enumerate(tensors.items()):
        if position in cuts and shards[-1]:
            shards.append({})
        shards[-1][name] = tensor
    return shards


def write_checkpoint(folder: Path, tensors: Tensors, cuts: Sequence[int] = ()) -> FolderSource:
    """A safetensors checkpoint with a config: one file, or shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}\n')
    shards = cut(tensors, cuts)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if cuts else "model.safetensors"
        save_file(shard, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    if cuts:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return FolderSource(folder)


def write_pickles(folder: Path, tensors: Tensors, cuts: Sequence[int] = ()) -> FolderSource:
    """The same as PyTorch's `.bin` files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}\n')
    shards = cut(tensors, cuts)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"pytorch_model-{number:05d}-of-{len(shards):05d}.bin" if cuts else "pytorch_model.bin"
        torch.save(shard, folder / file)
        weight_map |= dict.fromkeys(shard, file)
    if cuts:
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return FolderSource(folder)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder, read by safetensors itself."""
    return {k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()}


def recipe(aligned: FolderSource, sft: FolderSource, **settings: object) -> Recipe:
    return Recipe.model_validate(
        {"aligned": aligned.checkpoint, "sft": sft.checkpoint, "alpha": 0.3} | settings
    )


def pair(folder: Path, **settings: object) -> tuple[Recipe, FolderSource, FolderSource]:
    """A recipe over two checkpoints of four bf16 matrices, cut differently."""
    torch.manual_seed(7)
    new = {f"layers.{n}.weight": torch.randn(37, 51).bfloat16() for n in range(4)}
    old = {name: (tensor.float() + 0.01 * torch.randn(37, 51)).bfloat16() for name, tensor in new.items()}
    aligned = write_checkpoint(folder / "aligned", new, cuts=[1, 3])
    sft = write_checkpoint(folder / "sft", old, cuts=[2])
    return recipe(aligned, sft, **settings), aligned, sft
