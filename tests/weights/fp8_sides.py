"""fp8 checkpoints to test with, and the exact values of what they hold."""

import json
from pathlib import Path

import torch
from torch import Tensor

from tasks.stores.folder_source import FolderSource
from tests.weights.checkpoints import Tensors, write_checkpoint

ROWS, COLUMNS = 200, 300
WEIGHTS = ("model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight")
EMBEDDING = "model.embed_tokens.weight"
BLOCKS: dict[str, tuple[tuple[int, ...], tuple[int, int]]] = {
    "tensor": ((), (ROWS, COLUMNS)),
    "tensor of one element": ((1,), (ROWS, COLUMNS)),
    "row": ((ROWS, 1), (1, COLUMNS)),
    "block": ((2, 3), (128, 128)),
    "stated block": ((4, 3), (64, 128)),
}
FP8_CONFIG = {"quant_method": "fp8", "fmt": "e4m3"}


def plain(seed: int) -> dict[str, Tensor]:
    """The fp32 tensors that are quantized: alike for all seeds, but for a tenth of noise."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.Generator().manual_seed(0)
    names = (EMBEDDING, *WEIGHTS)
    return {
        name: torch.randn(ROWS, COLUMNS, generator=base)
        + 0.1 * torch.randn(ROWS, COLUMNS, generator=generator)
        for name in names
    }


def expand(scale: Tensor, block: tuple[int, int]) -> Tensor:
    """A scale for every element."""
    grid = scale.double().reshape(scale.shape if scale.ndim == 2 else (1, 1))
    return grid.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[:ROWS, :COLUMNS]


def quantize(
    tensors: Tensors, kind: str, suffix: str, dtype: torch.dtype
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a checkpoint holds, and the exact values of its tensors in float64."""
    shape, block = BLOCKS[kind]
    held: dict[str, Tensor] = {}
    exact: dict[str, Tensor] = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        if name not in WEIGHTS:
            held[name] = tensor.bfloat16()
            exact[name] = held[name].double()
            continue
        generator = torch.Generator().manual_seed(number)
        scale = (0.01 + 0.02 * torch.rand(shape, generator=generator)).to(dtype)
        every = expand(scale, block)
        held[name] = (tensor / every).float().to(torch.float8_e4m3fn)
        held[name + suffix] = scale
        exact[name] = held[name].double() * every
    return held, exact


def write_fp8(
    folder: Path, tensors: Tensors, cuts: list[int] | None = None, **config: object
) -> FolderSource:
    """A checkpoint in bf16 by its config, with these other fields."""
    write_checkpoint(folder, tensors, cuts or [])
    content = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"} | config
    (folder / "config.json").write_text(json.dumps(content))
    return FolderSource(folder)
