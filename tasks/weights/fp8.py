"""fp8 weights whose scales are known: each is paired with its scale, which is no tensor of its own then.

    X.weight             F8_E4M3 (rows, columns)
    X.weight_scale       one number, or one for each row, or one for each block
    X.weight_scale_inv   one for each block of 128 × 128, or of the config's weight_block_size

The value is fp8 · scale whatever the name says: DeepSeek's "inv" is the inverse of what quantized it.
"""

from collections.abc import Mapping
from typing import Any

from tasks.weights.block_scale import BlockScale
from tasks.weights.buffers import FLOATS
from tasks.weights.headers import TensorRange
from tasks.weights.sides import Side

__all__ = ["FP8", "QUANTIZATION", "has_known_scales", "with_scales"]

FP8 = "F8_E4M3"
QUANTIZATION = ("quantization_config", "compression_config")
DEFAULT_BLOCK = (128, 128)
# Smaller blocks are no layout that is known here, and their scales would be held in memory.
SMALLEST_BLOCK = 16
SUFFIXES = ("_scale_inv", "_scale")


def has_known_scales(side: Side) -> bool:
    """Whether every fp8 tensor of a side has a scale of a known form, and there is one at least."""
    return with_scales(side) is not side


def with_scales(side: Side) -> Side:
    """The side with its fp8 weights scaled, without the scales and without what its config says of them.

    The side itself where there is no fp8 weight, or one whose scale is not known.
    """
    quantized = [name for name, tensor in side.tensors.items() if tensor.dtype.startswith("F8_")]
    scaled, scales = {}, set()
    for name in quantized:
        scale = _scale_of(name, side)
        if scale is None:
            return side
        scaled[name] = side.tensors[name].model_copy(update={"scale": scale[1]})
        scales.add(scale[0])
    if not scaled:
        return side
    inputs = {name.removesuffix("weight") + "input_scale" for name in quantized}
    tensors = {
        name: scaled.get(name, tensor)
        for name, tensor in side.tensors.items()
        if name not in scales and name not in inputs
    }
    config = side.config and {name: value for name, value in side.config.items() if name not in QUANTIZATION}
    notice = f"{side.name}: {len(scaled):,} fp8 tensors are dequantized by {_kinds(scaled)}"
    return side._replace(tensors=tensors, config=config, notices=(*side.notices, notice))


def _scale_of(name: str, side: Side) -> tuple[str, BlockScale] | None:
    """The name and the place of a weight's scale."""
    weight = side.tensors[name]
    found = next((name + suffix for suffix in SUFFIXES if name + suffix in side.tensors), None)
    if weight.dtype != FP8 or len(weight.shape) != 2 or found is None:
        return None
    scale = side.tensors[found]
    if scale.dtype not in FLOATS or 0 in weight.shape:
        return None
    grid = _grid(weight.shape, scale.shape, _block_size(side.config or {}))
    if grid is None:
        return None
    shape, block = grid
    return found, BlockScale(
        dtype=scale.dtype, shape=shape, file=scale.file, offset=scale.offset, nbytes=scale.nbytes, block=block
    )


def _grid(
    weight: tuple[int, ...], scale: tuple[int, ...], block: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Shape of the grid and of its blocks, by the shape that the scale has."""
    rows, columns = weight
    if scale in ((), (1,), (1, 1)):
        return (1, 1), (rows, columns)
    if scale in ((rows,), (rows, 1)) and columns >= SMALLEST_BLOCK:
        return (rows, 1), (1, columns)
    if scale == (-(-rows // block[0]), -(-columns // block[1])):
        return (scale[0], scale[1]), block
    return None


def _block_size(config: Mapping[str, Any]) -> tuple[int, int]:
    for name in QUANTIZATION:
        settings = config.get(name)
        match settings.get("weight_block_size") if isinstance(settings, dict) else None:
            case [int(rows), int(columns)] if min(rows, columns) >= SMALLEST_BLOCK:
                return rows, columns
    return DEFAULT_BLOCK


def _kinds(scaled: Mapping[str, TensorRange]) -> str:
    kinds: dict[str, None] = {}
    for tensor in scaled.values():
        assert tensor.scale is not None
        rows, columns = tensor.scale.block
        if tensor.scale.shape == (1, 1):
            kinds["one scale each"] = None
        else:
            kinds["a scale for each row" if rows == 1 else f"scales of {rows} × {columns} blocks"] = None
    return " or ".join(kinds)
