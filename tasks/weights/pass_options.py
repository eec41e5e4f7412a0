"""What a pass over two checkpoints works on, and how: values that go together through its functions."""

from typing import NamedTuple

from tasks.core.values import Value
from tasks.stores.source import Source
from tasks.weights.options import Device, InputMode

__all__ = ["THREADS", "Device", "Parents", "PassOptions"]

THREADS = 4


class Parents(NamedTuple):
    """The two checkpoints, open: θ_1 and θ_0."""

    aligned: Source
    sft: Source


class PassOptions(Value):
    """How a pass is made; none of it changes a byte of the output.

    inputs   "stream" reads ranges of the Hub or S3 as they are needed, in place of fetching whole
             files first: no disk for inputs, and no sha256 of a file that is not read whole and in order
    device   the CPU unless asked otherwise: from disk to disk a GPU gains nothing, and GPU memory
             held here is unavailable to an engine on the same device
    workers  shards that are made at once; None: one for every two cores, over a network at least four
    threads  of each shard
    """

    inputs: InputMode = "download"
    device: Device = "cpu"
    workers: int | None = None
    threads: int = THREADS
