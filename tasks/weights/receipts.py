"""Receipts of finished shards: digest, inputs, and statistics of the update."""

from typing import Literal

from pydantic import ConfigDict

from tasks.core.names import FileName, Sha256
from tasks.core.values import Value

__all__ = ["Check", "InputCheck", "ShardPart", "ShardReceipt", "TensorStatistics"]


Check = Literal["none", "sha256", "size and etag", "not read"]


class InputCheck(Value):
    """An input file as it was read.

    side    of which parent
    file    its name
    size    in bytes
    sha256  what the source states; None where it states none
    check   what was compared with it: "sha256" of the whole file; "size and etag" of every answer of
            the server (a file that was streamed in parts); "not read": the aligned side has a file of
            the same sha256, and that one was read; "none": nothing is stated (a folder)
    """

    side: Literal["aligned", "sft"]
    file: FileName
    size: int
    sha256: Sha256 | None
    check: Check = "none"


class TensorStatistics(Value):
    """What the update does to one tensor; Δ = θ_aligned − θ_sft, before it is scaled by α.

    name            of the tensor
    elements        their number
    alpha           its α
    norm            ‖θ_aligned‖₂
    update_norm     ‖Δ‖₂
    cosine          of the angle between θ_aligned and Δ, 0 where one of them is 0: an update that scales
                    the tensor up has 1; None in manifests from before it was measured
    largest_update  max |Δ|
    nonfinite       number of NaN and Inf in the output; the figures above may be NaN then
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")

    name: str
    elements: int
    alpha: float
    norm: float
    update_norm: float
    cosine: float | None = None
    largest_update: float
    nonfinite: int


class ShardReceipt(Value):
    """A finished shard and its inputs.

    job         fingerprint of the ShardJob
    file        its name
    size        of the whole file in bytes
    sha256      of the whole file, 64 hex digits
    inputs      the parents' files, as they were read
    statistics  one for each extrapolated tensor
    """

    job: Sha256
    file: FileName
    size: int
    sha256: Sha256
    inputs: tuple[InputCheck, ...]
    statistics: tuple[TensorStatistics, ...]


class ShardPart(Value):
    """A shard on this machine's disk that is not in the store yet."""

    path: str
    receipt: ShardReceipt
