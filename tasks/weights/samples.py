"""Bytes of tensors compared without reading them whole: at their beginning, middle and end."""

from tasks.stores.source import Source
from tasks.weights.headers import TensorRange

__all__ = ["same_bytes"]

SAMPLE_BYTES = 65_536
PLACES = 3


def same_bytes(source: Source, tensor: TensorRange, other_source: Source, other: TensorRange) -> bool:
    """Whether two tensors of equal dtype and shape are equal, as far as three samples of 64 KiB show.

    Training moves every part of a tensor, so two that differ anywhere differ in the samples too;
    smaller tensors are compared whole.
    """
    if (tensor.dtype, tensor.shape) != (other.dtype, other.shape):
        return False
    last = max(0, tensor.nbytes - SAMPLE_BYTES)
    starts = sorted({last * place // (PLACES - 1) for place in range(PLACES)})
    length = min(SAMPLE_BYTES, tensor.nbytes)
    return all(
        source.read(tensor.file, tensor.offset + start, length)
        == other_source.read(other.file, other.offset + start, length)
        for start in starts
    )
