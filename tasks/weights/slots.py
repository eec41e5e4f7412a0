"""An output shard cut into slots: equal ranges of the file, each made and written on its own.

    file    | header | tensor 0      | tensor 1 | tensor 2                  |
    slots   |    0      |    1      |    2      |    3      |    4      | 5  |
    pieces  |      [0.0]|[0.1]  [1.0]|[1.1][2.0]|[2.1]      |[2.2]      |[…] |

Slots begin at multiples of a size that suits the disk, tensors at any byte.
A piece is what one tensor has in one slot.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tasks.weights.headers import ITEM_BYTES
from tasks.weights.jobs import ShardJob, TensorJob

__all__ = ["Piece", "cut_shard", "spans"]


class Piece(NamedTuple):
    """Elements [first, first + elements) of a tensor of the job, for one slot.

    tensor     position in the job's tensors
    sft_first  first element of `sft_at` on the SFT side; None where the aligned side is kept as it is
    position   in the slot, in bytes
    """

    tensor: int
    first: int
    elements: int
    sft_first: int | None
    position: int


def cut_shard(job: ShardJob, slot_bytes: int) -> dict[int, list[Piece]]:
    """The pieces of each slot by its number; `slot_bytes` is a multiple of 8."""
    slots: dict[int, list[Piece]] = defaultdict(list)
    begin = job.bytes - sum(tensor.nbytes for tensor in job.tensors)
    for number, tensor in enumerate(job.tensors):
        item = ITEM_BYTES[tensor.dtype]
        for first, count, sft_first in spans(tensor):
            done = 0
            while done < count:
                slot, position = divmod(begin + (first + done) * item, slot_bytes)
                fits = min(count - done, (slot_bytes - position) // item)
                start = None if sft_first is None else sft_first + done
                slots[slot].append(Piece(number, first + done, fits, start, position))
                done += fits
        begin += tensor.nbytes
    return slots


def spans(tensor: TensorJob) -> Iterator[tuple[int, int, int | None]]:
    """A tensor's parts: first element, number of elements, first element of `sft_at` on the SFT side.

    The last is None where the aligned side is kept as it is.
    """
    if tensor.sft_parts:
        size = tensor.elements // len(tensor.sft_parts)
        for part in range(len(tensor.sft_parts)):
            yield part * size, size, 0
        return
    if not tensor.rows:
        yield 0, tensor.elements, 0 if tensor.sft else None
        return
    width = tensor.elements // tensor.shape[0]
    for run in tensor.rows:
        start = None if run.sft_first is None else run.sft_first * width
        yield run.first * width, run.rows * width, start
