"""One output shard: inputs streamed through small buffers, extrapolated, hashed and measured in one pass."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from tasks.errors import CorruptError, InputError, MismatchError
from tasks.stores.source import Source
from tasks.values import Value
from tasks.weights.formula import extrapolate_block
from tasks.weights.headers import ITEM_BYTES, TensorRange
from tasks.weights.plan import ShardJob, TensorJob, shard_header
from tasks.weights.recipe import Checkpoint, Recipe

if TYPE_CHECKING:
    from torch import Tensor, dtype

__all__ = [
    "Advance",
    "Device",
    "InputCheck",
    "ShardReceipt",
    "TensorStatistics",
    "write_shard",
    "write_shards",
]

Device = Literal["cpu", "cuda", "auto"]
Advance = Callable[[int], None]

BLOCK = 1 << 20
"""Elements that are read, computed and written at a time."""


class InputCheck(Value):
    """An input file as it was read.

    sha256  what the source states and `fetch` verified; None where only the size is known
    """

    side: Literal["aligned", "sft"]
    file: str
    size: int
    sha256: str | None


class TensorStatistics(Value):
    """What the update does to one tensor; Δ = θ_aligned − θ_sft, before it is scaled by α.

    norm            ‖θ_aligned‖₂
    update_norm     ‖Δ‖₂
    largest_update  max |Δ|
    cosine          between θ_aligned and Δ; 0 where one of them is zero
    nonfinite       number of NaN and Inf in the output
    """

    name: str
    elements: int
    alpha: float
    norm: float
    update_norm: float
    largest_update: float
    cosine: float
    nonfinite: int


class ShardReceipt(Value):
    """A finished shard: what it is, and of what it was made.

    job         fingerprint of the ShardJob
    sha256      of the whole file, 64 hex digits
    statistics  one for each extrapolated tensor
    """

    job: str
    file: str
    size: int
    sha256: str
    inputs: tuple[InputCheck, ...]
    statistics: tuple[TensorStatistics, ...]


def write_shard(
    job: ShardJob,
    aligned: Source,
    sft: Source,
    part: Path,
    *,
    device: Device = "cpu",
    advance: Advance = lambda _: None,
) -> ShardReceipt:
    """Writes the whole shard at `part`, replacing what was there; returns its receipt.

    `advance` is called with the number of bytes of output written since its last call.

    Raises:
        MismatchError: a source is not at the recipe's commit, or changed while it was read.
        CorruptError: an input ends early, or holds NaN or Inf and the recipe does not allow them.
    """
    return write_shards([job], aligned, sft, [part], device=device, advance=advance)[0]


def write_shards(
    jobs: Sequence[ShardJob],
    aligned: Source,
    sft: Source,
    parts: Sequence[Path],
    *,
    device: Device = "cpu",
    advance: Advance = lambda _: None,
) -> tuple[ShardReceipt, ...]:
    """The same shard at several α, its inputs read once: `write_shard` for each job and part."""
    _check_jobs(jobs)
    _check_commits(jobs[0].recipe, aligned, sft)
    place = _place(device)
    writers = [_Writer(part) for part in parts]
    for job, writer in zip(jobs, writers, strict=True):
        header = shard_header(job.tensors)
        writer.write(header)
        advance(len(header))
    statistics: list[list[TensorStatistics]] = [[] for _ in jobs]
    with _Inputs(aligned) as ours, _Inputs(sft) as theirs:
        for tensors in zip(*(job.tensors for job in jobs), strict=True):
            found = _write_tensor(tensors, jobs[0].recipe, ours, theirs, writers, place, advance)
            for one, results in zip(found, statistics, strict=False):
                results.append(one)
    _check_commits(jobs[0].recipe, aligned, sft)
    inputs = tuple(_input_checks(jobs[0], aligned, sft))
    return tuple(
        ShardReceipt(
            job=job.fingerprint,
            file=job.file,
            size=job.bytes,
            sha256=writer.close(),
            inputs=inputs,
            statistics=tuple(results),
        )
        for job, writer, results in zip(jobs, writers, statistics, strict=True)
    )


def _write_tensor(
    tensors: Sequence[TensorJob],
    recipe: Recipe,
    ours: "_Inputs",
    theirs: "_Inputs",
    writers: Sequence["_Writer"],
    place: str,
    advance: Advance,
) -> list[TensorStatistics]:
    """Writes one tensor at each α; returns nothing for a buffer, which is only copied."""
    first = tensors[0]
    if first.sft is None:
        for content in ours.blocks(first.aligned):
            for writer in writers:
                writer.write(content)
                advance(len(content))
        return []
    measures = [_Measure(tensor) for tensor in tensors]
    for one, two in zip(ours.blocks(first.aligned), theirs.blocks(first.sft), strict=True):
        old = _tensor(two, first.sft.dtype).to(place)
        new = _tensor(one, first.aligned.dtype).to(place)
        for tensor, measure, writer in zip(tensors, measures, writers, strict=True):
            out = new.new_empty(new.shape, dtype=_torch_dtype(tensor.dtype))
            extrapolate_block(new, old, tensor.alpha, recipe.arithmetic, out)
            measure.add(new, old, out)
            content = out.view(_torch_dtype("U8")).cpu().numpy().tobytes()
            writer.write(content)
            advance(len(content))
    return [measure.result(recipe) for measure in measures]


class _Inputs:
    """The open files of one side."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> "_Inputs":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def blocks(self, tensor: TensorRange) -> Iterator[bytes]:
        """The tensor's bytes, at most BLOCK elements at a time."""
        file = self._open(tensor.file)
        step = BLOCK * ITEM_BYTES[tensor.dtype]
        for start in range(0, tensor.nbytes, step):
            length = min(step, tensor.nbytes - start)
            content = os.pread(file.fileno(), length, tensor.offset + start)
            if len(content) != length:
                raise CorruptError(f"{file.name}: it ends before byte {tensor.offset + start + length}")
            yield content

    def _open(self, name: str) -> BinaryIO:
        if name not in self._files:
            self._files[name] = self._source.fetch(name).open("rb")
        return self._files[name]


class _Writer:
    """A file that is hashed as it is written."""

    def __init__(self, part: Path) -> None:
        self._file = part.open("wb")
        self._digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)

    def close(self) -> str:
        """Puts the bytes on the disk; returns their sha256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()


class _Measure:
    """Sums over the blocks of one tensor."""

    def __init__(self, tensor: TensorJob) -> None:
        self._tensor = tensor
        self._squares = self._update_squares = self._product = self._largest = 0.0
        self._nonfinite = 0

    def add(self, aligned: "Tensor", sft: "Tensor", out: "Tensor") -> None:
        new, update = aligned.float(), aligned.float() - sft.float()
        self._squares += float(new.dot(new))
        self._update_squares += float(update.dot(update))
        self._product += float(new.dot(update))
        self._largest = max(self._largest, float(update.abs().max()))
        self._nonfinite += int((~out.isfinite()).sum())

    def result(self, recipe: Recipe) -> TensorStatistics:
        if self._nonfinite and recipe.nonfinite == "error":
            raise CorruptError(
                f"tensor {self._tensor.name!r}: {self._nonfinite} values are NaN or Inf after extrapolation; "
                f"look at {self._tensor.aligned.file}, or allow them with nonfinite='allow'"
            )
        norms = math.sqrt(self._squares) * math.sqrt(self._update_squares)
        return TensorStatistics(
            name=self._tensor.name,
            elements=math.prod(self._tensor.shape),
            alpha=self._tensor.alpha,
            norm=math.sqrt(self._squares),
            update_norm=math.sqrt(self._update_squares),
            largest_update=self._largest,
            cosine=self._product / norms if norms else 0.0,
            nonfinite=self._nonfinite,
        )


def _check_jobs(jobs: Sequence[ShardJob]) -> None:
    def without_alpha(job: ShardJob) -> list[object]:
        return [tensor.model_copy(update={"alpha": 0.0}) for tensor in job.tensors]

    if any(without_alpha(job) != without_alpha(jobs[0]) for job in jobs):
        raise InputError("jobs of one pass may differ in alpha only; write the others on their own")


def _check_commits(recipe: Recipe, aligned: Source, sft: Source) -> None:
    for wanted, source in ((recipe.aligned, aligned), (recipe.sft, sft)):
        found: Checkpoint = source.checkpoint
        if found != wanted:
            raise MismatchError(
                f"{found.uri} is at {found.commit}, the plan was made at {wanted.commit}; plan again"
            )


def _input_checks(job: ShardJob, aligned: Source, sft: Source) -> Iterator[InputCheck]:
    for file in job.aligned_files:
        info = aligned.files()[file]
        yield InputCheck(side="aligned", file=file, size=info.size, sha256=info.sha256)
    for file in job.sft_files:
        info = sft.files()[file]
        yield InputCheck(side="sft", file=file, size=info.size, sha256=info.sha256)


def _place(device: Device) -> str:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': there is no CUDA device here; use 'cpu' or 'auto'")
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _tensor(content: bytes, dtype: str) -> "Tensor":
    import torch

    return torch.frombuffer(bytearray(content), dtype=_torch_dtype(dtype))


def _torch_dtype(name: str) -> "dtype":
    import torch

    return {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "U8": torch.uint8}[name]
