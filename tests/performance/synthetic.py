"""Checkpoints of any size, with the shapes of a Llama and small updates, written once and kept.

python -m tests.performance.synthetic FOLDER GIGABYTES
"""

import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

if TYPE_CHECKING:
    from transformers import LlamaConfig

__all__ = ["layers_of", "make_pair", "random_llama_config", "shapes_of"]

HIDDEN, MIDDLE, KEYS, VOCABULARY = 2048, 5632, 256, 32000
SHARD_BYTES = 1_000_000_000


def random_llama_config(folder: Path, hidden: int, layers: int) -> "LlamaConfig":
    """Of a Llama that vLLM can serve, with heads 32 wide; its tokenizer goes into the folder."""
    from transformers import LlamaConfig

    from tests.generation.conftest import make_tiny_llama

    make_tiny_llama(folder)
    return LlamaConfig.from_pretrained(
        folder,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        head_dim=32,
        initializer_range=0.02,
    )


def make_pair(folder: Path, gigabytes: float) -> tuple[Path, Path]:
    """The folders of an aligned and an SFT checkpoint of about so many 10⁹ bytes each (bf16)."""
    aligned, sft = folder / f"aligned-{gigabytes:g}", folder / f"sft-{gigabytes:g}"
    if not (sft / "done").exists():
        layers = layers_of(gigabytes)
        _write(aligned, layers, update=0.0)
        _write(sft, layers, update=1e-3)
        (sft / "done").touch()
    return aligned, sft


def layers_of(gigabytes: float) -> int:
    """How many layers make a checkpoint of so many 10⁹ bytes in bf16."""
    layer = sum(rows * columns for _, (rows, columns) in _layer_shapes(0) if columns)
    return max(1, round((gigabytes * 1e9 / 2 - 2 * VOCABULARY * HIDDEN) / layer))


def shapes_of(layers: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names and shapes in the order of a checkpoint; (n, 0) is a vector."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        yield from _layer_shapes(layer)
    yield "model.norm.weight", (HIDDEN, 0)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def _layer_shapes(layer: int) -> Iterator[tuple[str, tuple[int, int]]]:
    prefix = f"model.layers.{layer}."
    yield prefix + "input_layernorm.weight", (HIDDEN, 0)
    yield prefix + "mlp.down_proj.weight", (HIDDEN, MIDDLE)
    yield prefix + "mlp.gate_proj.weight", (MIDDLE, HIDDEN)
    yield prefix + "mlp.up_proj.weight", (MIDDLE, HIDDEN)
    yield prefix + "post_attention_layernorm.weight", (HIDDEN, 0)
    yield prefix + "self_attn.k_proj.weight", (KEYS, HIDDEN)
    yield prefix + "self_attn.o_proj.weight", (HIDDEN, HIDDEN)
    yield prefix + "self_attn.q_proj.weight", (HIDDEN, HIDDEN)
    yield prefix + "self_attn.v_proj.weight", (KEYS, HIDDEN)


def _write(folder: Path, layers: int, update: float) -> None:
    """Shards of about 1 GB with an index and the config of the model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_config(layers), indent=2))
    shards = _cut(list(shapes_of(layers)))
    weight_map: dict[str, str] = {}
    for number, shapes in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(
            {name: _tensor(name, shape, update) for name, shape in shapes}, folder / file, {"format": "pt"}
        )
        weight_map |= dict.fromkeys((name for name, _ in shapes), file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )


def _cut(shapes: list[tuple[str, tuple[int, int]]]) -> list[list[tuple[str, tuple[int, int]]]]:
    shards: list[list[tuple[str, tuple[int, int]]]] = [[]]
    room = SHARD_BYTES
    for name, shape in shapes:
        size = 2 * shape[0] * max(1, shape[1])
        if shards[-1] and size > room:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append((name, shape))
        room -= size
    return shards


def _tensor(name: str, shape: tuple[int, int], update: float) -> Tensor:
    """Weights of spread 0.02 that depend on the name alone, plus an update of the given spread."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    size = shape if shape[1] else shape[:1]
    weights = 0.02 * torch.randn(size, generator=generator)
    if update:
        # The SFT side starts from the rounded aligned weights, as training would leave them close.
        weights = weights.bfloat16().float() + update * torch.randn(size, generator=generator)
    return weights.bfloat16()


def _config(layers: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": MIDDLE,
        "num_attention_heads": 32,
        "num_key_value_heads": KEYS * 32 // HIDDEN,
        "num_hidden_layers": layers,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }


if __name__ == "__main__":
    for made in make_pair(Path(sys.argv[1]), float(sys.argv[2])):
        print(made)
