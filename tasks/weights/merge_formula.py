"""An SFT weight with an adapter's update, in numpy: what `expo verify` compares with.

The compiled loops (`tasks.weights.merge_kernel`) give the same bits: sums in fp64, k ascending, each
operation rounded by itself.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.weights.headers import TensorRange
from tasks.weights.jobs import TensorJob
from tasks.weights.low_rank import LowRank
from tasks.weights.pass_options import Parents
from tasks.weights.reference import NUMPY_DTYPES, extrapolate_reference

__all__ = ["merged_rows"]

ELEMENTS = 1 << 20
"""That are computed at a time."""

Values = NDArray[Any]
Wide = NDArray[np.float64]


def merged_rows(tensor: TensorJob, parents: Parents) -> Iterator[tuple[int, bytes]]:
    """(first element, bytes as written) of a tensor that a low-rank update changes, part by part."""
    low_rank, sft = tensor.low_rank, tensor.sft
    assert low_rank is not None and sft is not None
    left, right, magnitude = _factors(low_rank, parents)
    rows, width = tensor.shape
    step = max(1, ELEMENTS // max(1, width))
    kind = NUMPY_DTYPES[sft.dtype]
    for first in range(0, rows, step):
        count = min(step, rows - first)
        start, length = sft.offset + first * width * kind.itemsize, count * width * kind.itemsize
        old = np.frombuffer(parents.sft.read(sft.file, start, length), kind).reshape(count, width)
        with np.errstate(all="ignore"):
            update = _product(left[first : first + count], right, low_rank.scale)
            made = _made(
                tensor, old, update, magnitude[first : first + count] if magnitude is not None else None
            )
        yield first * width, made.tobytes()


def _made(tensor: TensorJob, old: Values, update: Values, magnitude: Wide | None) -> Values:
    dtype = NUMPY_DTYPES[tensor.dtype]
    if magnitude is not None:
        merged = old.astype(np.float64) + update.astype(np.float64)
        norms = np.sqrt(np.add.accumulate(merged * merged, axis=1)[:, -1])  # one by one
        aligned = ((magnitude / norms)[:, None] * merged).astype(np.float32)
        return extrapolate_reference(aligned.ravel(), old.ravel(), tensor.alpha, "fp32", tensor.dtype)
    if tensor.alpha == -1.0:
        return old.astype(dtype)
    total = old.astype(np.float64) + (1.0 + tensor.alpha) * update.astype(np.float64)
    made: Values = total.astype(np.float32).astype(dtype)
    return made


def _factors(low_rank: LowRank, parents: Parents) -> tuple[Wide, Wide, Wide | None]:
    """left (rows, rank), right (rank, columns) and magnitude (rows,)."""

    def read(place: TensorRange) -> Wide:
        content = parents.aligned.read(place.file, place.offset, place.nbytes)
        return np.frombuffer(content, NUMPY_DTYPES[place.dtype]).reshape(place.shape).astype(np.float64)

    a, b = read(low_rank.a), read(low_rank.b)
    left, right = (a.T, b.T) if low_rank.transposed else (b, a)
    return left, right, read(low_rank.magnitude) if low_rank.magnitude else None


def _product(left: Wide, right: Wide, scale: float) -> NDArray[np.float32]:
    total = np.zeros((left.shape[0], right.shape[1]))
    for k in range(right.shape[0]):
        total += np.multiply.outer(left[:, k], right[k])  # the products are exact in fp64
    return (scale * total).astype(np.float32)
