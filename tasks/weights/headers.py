"""safetensors headers: read strictly, written deterministically.

A file is an 8-byte little-endian length, a JSON header of that length, and the tensors'
bytes without a hole. https://github.com/huggingface/safetensors#format
"""

import json
import math
from collections.abc import Iterable, Sequence
from reprlib import repr as brief
from typing import Any

from pydantic import Field

from tasks.core.errors import CorruptError, InputError
from tasks.core.values import Value
from tasks.stores.source import Source
from tasks.weights.block_scale import BlockScale

__all__ = ["ITEM_BYTES", "TensorRange", "build_header", "is_shape", "read_header"]

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip

PACKED = frozenset(("F4", "F6_E2M3", "F6_E3M2"))

# The format's own limit; a larger header is an attack or a mistake.
MAX_HEADER_BYTES = 100_000_000


# PyTorch's own limits; beyond them even the product of the numbers takes minutes.
MAX_DIMENSIONS = 64
MAX_SIZE = 2**63 - 1


class TensorRange(Value):
    """Where a tensor's bytes lie: row-major, little-endian, from `offset` of `file`.

    dtype   in the words of safetensors: "BF16", "F16", "F32", …
    offset  bytes from the start of the file
    nbytes  length in bytes: the product of the shape times the item's size
    scale   what the elements are multiplied by, of an fp8 matrix that is dequantized; else None
    """

    dtype: str
    shape: tuple[int, ...]
    file: str
    offset: int
    nbytes: int
    scale: BlockScale | None = Field(default=None, exclude_if=lambda scale: scale is None)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that hold it and its scale."""
        return (self.file,) if self.scale is None else (self.file, self.scale.file)


def read_header(source: Source, file: str) -> dict[str, TensorRange]:
    """The tensors of one safetensors file, in the order of their bytes; the weights are not read.

    Raises:
        CorruptError: the header is not one, or the tensors do not fill the file exactly.
        InputError: a tensor has several values in a byte.
    """
    size = source.files()[file].size
    length = int.from_bytes(source.read(file, 0, 8), "little")
    if size < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
        raise _corrupt(file, f"a header of {length} bytes in a file of {size}")
    entries = _parse(file, source.read(file, 8, length))
    start = 8 + length
    tensors = {name: _range(file, name, entry, start) for name, entry in entries.items()}
    ordered = sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].nbytes))
    for name, tensor in ordered:
        if tensor.offset != start:
            raise _corrupt(file, f"tensor {name!r} begins at byte {tensor.offset}, not {start}")
        start += tensor.nbytes
    if start != size:
        raise _corrupt(file, f"its tensors end at byte {start}, the file at {size}")
    return dict(ordered)


def is_shape(numbers: Sequence[object]) -> bool:
    """Whether these can be a tensor's sizes, as PyTorch knows them."""
    return len(numbers) <= MAX_DIMENSIONS and all(type(n) is int and 0 <= n <= MAX_SIZE for n in numbers)


def build_header(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> bytes:
    """The length and the JSON of a file with these (name, dtype, shape), in this order.

    Padded with spaces to a multiple of 8 bytes, as the format asks; the same tensors give
    the same bytes.
    """
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, shape in tensors:
        begin, end = end, end + math.prod(shape) * ITEM_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _parse(file: str, header: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(header, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _corrupt(file, f"its header is no JSON ({error})") from error
    if not isinstance(entries, dict):
        raise _corrupt(file, "its header is no JSON object")
    entries.pop("__metadata__", None)
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name appears twice")
    return entries


def _range(file: str, name: str, entry: object, start: int) -> TensorRange:
    """One tensor's entry, checked: offsets in the header count from the end of the header."""
    dtype, shape, begin, end = _fields(file, name, entry)
    if dtype in PACKED:
        raise InputError(
            f"{file}: tensor {name!r} is {dtype}, several values in a byte: the checkpoint is quantized; "
            "use the one that it was quantized from"
        )
    if dtype not in ITEM_BYTES:
        raise _corrupt(file, f"tensor {name!r} has the unknown dtype {dtype!r}")
    if not is_shape(shape):
        raise _corrupt(file, f"tensor {name!r} has the shape {brief(shape)}")
    nbytes = math.prod(shape) * ITEM_BYTES[dtype]
    if begin < 0 or end - begin != nbytes:
        raise _corrupt(
            file, f"tensor {name!r}: {dtype} of shape {shape} is {nbytes} bytes, not {end - begin}"
        )
    return TensorRange(dtype=dtype, shape=tuple(shape), file=file, offset=start + begin, nbytes=nbytes)


def _fields(file: str, name: str, entry: object) -> tuple[str, list[Any], int, int]:
    """dtype, shape, begin and end; a match statement takes half of the time of a header of 20,000 tensors."""
    if isinstance(entry, dict):
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        numbers = offsets if isinstance(offsets, list) and len(offsets) == 2 else (None, None)
        begin, end = numbers
        if isinstance(dtype, str) and isinstance(shape, list) and type(begin) is type(end) is int:
            return dtype, shape, begin, end
    raise _corrupt(file, f"the entry of tensor {name!r} is not dtype, shape and data_offsets")


def _corrupt(file: str, what: str) -> CorruptError:
    return CorruptError(f"{file}: {what}; fetch the file again, it is damaged or no safetensors file")
