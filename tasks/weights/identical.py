"""Weight files that both checkpoints have byte for byte: read once, and kept as they are.

Training that freezes some layers leaves whole files unchanged. The Hub and a store state
every file's sha256, so an equal file of the SFT side need not be fetched: Δ is zero.
"""

from collections.abc import Mapping

from tasks.stores.source import Source
from tasks.weights.jobs import ShardJob, TensorJob
from tasks.weights.vocabulary import RowRun

__all__ = ["identical_files", "without_identical"]


def identical_files(aligned: Source, sft: Source) -> dict[str, str]:
    """SFT file → aligned file of the same stated sha256."""
    in_aligned = {info.sha256: file for file, info in aligned.files().items() if info.sha256}
    return {file: in_aligned[info.sha256] for file, info in sft.files().items() if info.sha256 in in_aligned}


def without_identical(job: ShardJob, same: Mapping[str, str]) -> ShardJob:
    """The same shard, reading nothing of an SFT file that the aligned side has; `same` is SFT → aligned."""
    tensors = tuple(_once(tensor) if _is_same(tensor, same) else tensor for tensor in job.tensors)
    places = (place for tensor in tensors if not _kept(tensor) for place in tensor.sft_places)
    left = {file for place in places for file in place.files}
    return job.model_copy(update={"tensors": tensors, "sft_files": tuple(sorted(left))})


def _is_same(tensor: TensorJob, same: Mapping[str, str]) -> bool:
    aligned, sft = tensor.aligned, tensor.sft
    # A scalar has no rows to keep.
    if aligned is None or sft is None or not tensor.shape or tensor.rows or tensor.sft_parts:
        return False
    if not tensor.elements or [same.get(file) for file in sft.files] != list(aligned.files):
        return False
    scale = sft.scale and sft.scale.model_copy(update={"file": aligned.files[-1]})
    return sft.model_copy(update={"file": aligned.file, "scale": scale}) == aligned


def _once(tensor: TensorJob) -> TensorJob:
    """All rows kept as the aligned side has them: Δ is zero."""
    rows = RowRun(first=0, rows=tensor.shape[0], sft_first=None)
    unread = tensor.sft and tensor.sft.model_copy(update={"scale": None})
    return tensor.model_copy(update={"rows": (rows,), "sft": unread})


def _kept(tensor: TensorJob) -> bool:
    return bool(tensor.rows) and all(run.sft_first is None for run in tensor.rows)
