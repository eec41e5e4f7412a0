"""The tensors of a safetensors file as the safetensors library sees them, from its header alone."""

import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from tasks.core.errors import CorruptError
from tasks.stores.source import Source

__all__ = ["Layout", "library_layout"]

Layout = list[tuple[str, str, tuple[int, ...]]]
"""(name, dtype, shape) in the order of the bytes; the library refuses holes and overlaps between them."""


def library_layout(source: Source, file: str) -> Layout:
    """Opens a file of this name with the library, wherever it lies.

    The library reads a file on disk: so it gets a sparse one, with the header and a hole in place of
    the weights.

    Raises:
        CorruptError: the library refuses the file.
    """
    size = source.files()[file].size
    length = 8 + int.from_bytes(source.read(file, 0, 8), "little")
    with tempfile.TemporaryDirectory(prefix="expo-header-") as folder:
        sparse = Path(folder) / "header.safetensors"
        sparse.write_bytes(source.read(file, 0, min(length, size)))
        os.truncate(sparse, size)
        try:
            with safe_open(sparse, framework="numpy") as opened:
                slices = [(name, opened.get_slice(name)) for name in opened.offset_keys()]
                return [(name, part.get_dtype(), tuple(part.get_shape())) for name, part in slices]
        except SafetensorError as error:
            raise CorruptError(f"{file}: the safetensors library refuses it: {error}") from error
