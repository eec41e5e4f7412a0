"""PyTorch's `.bin` files: a zip of a pickle and one stored record for each storage, read in place.

archive/data.pkl      the state dict, its storages named by key
archive/data/0 …      a storage's bytes, neither compressed nor encrypted
archive/byteorder     "little"
"""

import io
import math
import struct
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tasks.core.errors import CorruptError
from tasks.stores.source import Source
from tasks.weights.headers import ITEM_BYTES, TensorRange
from tasks.weights.pickles import StoredTensor, read_pickle

__all__ = ["read_archive"]

# The directory and the pickle of a shard are some 100 KB; an archive that wants more is an attack.
MAX_STRUCTURE_BYTES = 100_000_000
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
ENCRYPTED = 0x1
READS_AT_ONCE = 8
# What zipfile raises for damaged files, beside its own error.
DAMAGED = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


def read_archive(source: Source, file: str) -> dict[str, TensorRange]:
    """The tensors of one `.bin` file, in the order of their bytes; nothing is executed or unpacked.

    Raises:
        CorruptError: the file is no such archive, or would run something when loaded, or a
            tensor does not fit its record.
    """
    try:
        with zipfile.ZipFile(_RangeFile(source, file)) as archive:
            records = {info.filename: info for info in archive.infolist()}
            pickles = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(pickles) != 1 or len(records) != len(archive.infolist()):
                raise CorruptError("it is not what torch.save writes; save the model as safetensors")
            root = pickles[0].removesuffix("data.pkl")
            _check_stored(records.values())
            if records.get(f"{root}byteorder") and archive.read(f"{root}byteorder") != b"little":
                raise CorruptError("its numbers are not little-endian; save the model as safetensors")
            tensors = read_pickle(archive.read(pickles[0]))
        return _ranges(source, file, tensors, root, records)
    except DAMAGED as error:
        raise CorruptError(
            f"{file}: no zip archive ({error}); fetch it again, or, if it is older than PyTorch 1.6, "
            "load it once and save it as safetensors"
        ) from error
    except CorruptError as error:
        raise CorruptError(f"{file}: {error}") from error


def _ranges(
    source: Source,
    file: str,
    tensors: dict[str, StoredTensor],
    root: str,
    records: dict[str, zipfile.ZipInfo],
) -> dict[str, TensorRange]:
    """Where each tensor's bytes lie in the file."""
    for name, tensor in tensors.items():
        _check_fits(name, tensor, records.get(f"{root}data/{tensor.storage.key}"))
    used = sorted({tensor.storage.key for tensor in tensors.values()})
    infos = [records[f"{root}data/{key}"] for key in used]
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        starts = dict(zip(used, pool.map(lambda info: _data_start(source, file, info), infos), strict=True))
    ranges = {name: _range(file, tensor, starts[tensor.storage.key]) for name, tensor in tensors.items()}
    return dict(sorted(ranges.items(), key=lambda item: item[1].offset))


def _range(file: str, tensor: StoredTensor, start: int) -> TensorRange:
    item = ITEM_BYTES[tensor.storage.dtype]
    return TensorRange(
        dtype=tensor.storage.dtype,
        shape=tensor.shape,
        file=file,
        offset=start + tensor.offset * item,
        nbytes=math.prod(tensor.shape) * item,
    )


def _check_stored(records: Iterable[zipfile.ZipInfo]) -> None:
    for info in records:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise CorruptError(f"record {info.filename!r} is compressed; save the model as safetensors")
        if info.flag_bits & ENCRYPTED:
            raise CorruptError(f"record {info.filename!r} is encrypted; save the model as safetensors")


def _check_fits(name: str, tensor: StoredTensor, record: zipfile.ZipInfo | None) -> None:
    """A tensor must be a dense row-major part of a storage that is wholly there."""
    storage, item = tensor.storage, ITEM_BYTES[tensor.storage.dtype]
    if record is None:
        raise CorruptError(f"tensor {name!r}: no record data/{storage.key} in the archive; fetch it again")
    if record.file_size != storage.elements * item:
        raise CorruptError(
            f"tensor {name!r}: its storage is {storage.elements} elements of {item} bytes, "
            f"its record {record.file_size} bytes; fetch it again"
        )
    if tensor.strides != _dense(tensor):
        raise CorruptError(
            f"tensor {name!r}: of shape {list(tensor.shape)} it has the strides {list(tensor.strides)}, "
            "so its rows do not lie one behind the other; save the model as safetensors"
        )
    if tensor.offset + math.prod(tensor.shape) > storage.elements:
        raise CorruptError(f"tensor {name!r}: it reaches beyond its storage of {storage.elements} elements")


def _dense(tensor: StoredTensor) -> tuple[int, ...]:
    """The strides of a row-major tensor; those of dimensions of one element, or none, mean nothing."""
    if 0 in tensor.shape:
        return tensor.strides
    expected, step = [], 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        expected.append(stride if size == 1 else step)
        step *= size
    return tuple(reversed(expected))


def _data_start(source: Source, file: str, info: zipfile.ZipInfo) -> int:
    """Where a record's bytes begin: behind its local header, whose length is in the file itself."""
    header = source.read(file, info.header_offset, LOCAL_HEADER.size)
    if len(header) != LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise CorruptError(f"record {info.filename!r} is not where the directory says; fetch the file again")
    *_, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    start = int(info.header_offset) + LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)
    if start + info.file_size > source.files()[file].size:
        raise CorruptError(f"record {info.filename!r} reaches beyond the end of the file; fetch it again")
    return start


class _RangeFile(io.RawIOBase):
    """A file of a source as zipfile wants it, with a limit on what is read in all."""

    def __init__(self, source: Source, file: str) -> None:
        self._source, self._file = source, file
        self._size = source.files()[file].size
        self._position = self._total = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise zipfile.BadZipFile("too short, or its directory points before its beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        length = self._size - self._position if size < 0 else size
        self._total += length
        if self._total > MAX_STRUCTURE_BYTES:
            raise CorruptError(f"its directory and pickle are larger than {MAX_STRUCTURE_BYTES} bytes")
        content = self._source.read(self._file, self._position, length) if length > 0 else b""
        self._position += len(content)
        return content
