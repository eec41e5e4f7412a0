"""What a plan consists of: tensor by tensor and shard by shard, which bytes of which files."""

import math
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from tasks.core.values import Value, fingerprint
from tasks.weights.block_scale import BlockScale
from tasks.weights.headers import ITEM_BYTES, TensorRange, build_header
from tasks.weights.low_rank import LowRank
from tasks.weights.recipe import Recipe
from tasks.weights.vocabulary import RowRun

__all__ = ["FLOATS", "Plan", "ShardJob", "TensorJob", "shard_header"]

FLOATS = ("BF16", "F16", "F32")


class TensorJob(Value):
    """One tensor of the output.

    dtype, shape  of the output, dtype in the words of safetensors
    alpha         its α, after the recipe's module_alphas
    aligned, sft  where the inputs lie; sft is None for a buffer, copied from the aligned side; aligned is
                  None where an adapter makes the aligned tensor of the SFT one
    rows          where the vocabularies differ: which rows correspond; empty: all, in order
    sft_parts     where the SFT side stores the tensor in several of equal size: these, in the order of their
                  elements; `sft` stands for all of them then
    low_rank      the adapter's update of the SFT tensor; with no aligned tensor either, it is left as it is
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    alpha: float
    aligned: TensorRange | None
    sft: TensorRange | None
    rows: tuple[RowRun, ...] = ()
    sft_parts: tuple[TensorRange, ...] = Field(default=(), exclude_if=lambda parts: not parts)
    low_rank: LowRank | None = Field(default=None, exclude_if=lambda update: update is None)

    @property
    def elements(self) -> int:
        """Number of elements of the output."""
        return math.prod(self.shape)

    @property
    def extrapolated(self) -> bool:
        """Whether the tensor is computed; buffers are copied."""
        return self.sft is not None and self.dtype in FLOATS

    @property
    def sft_places(self) -> tuple[TensorRange, ...]:
        """Where the SFT side's elements lie: one range, several parts, or none."""
        return self.sft_parts or ((self.sft,) if self.sft else ())

    def sft_at(self, first: int) -> TensorRange | None:
        """The range of the SFT side that has the counterpart of element `first`."""
        if not self.sft_parts:
            return self.sft
        return self.sft_parts[first * len(self.sft_parts) // self.elements]

    @property
    def nbytes(self) -> int:
        """Length of the output in bytes."""
        return self.elements * ITEM_BYTES[self.dtype]


class ShardJob(Value):
    """One output shard.

    file           its name in the model folder
    tensors        in the order of their bytes in the shard
    aligned_files  the input files that it needs of the aligned checkpoint
    sft_files      …and of the SFT checkpoint
    bytes          size of the shard, header included
    """

    recipe: Recipe
    file: str
    tensors: tuple[TensorJob, ...]
    aligned_files: tuple[str, ...]
    sft_files: tuple[str, ...]
    bytes: int

    @property
    def fingerprint(self) -> str:
        """sha256 of the job: a shard made by an equal job has the same bytes."""
        return fingerprint(self)

    def scales(self, side: Literal["aligned", "sft"]) -> tuple[BlockScale, ...]:
        """The scales of a side's fp8 tensors that the shard needs, in the order of their bytes."""
        places = (
            place
            for tensor in self.tensors
            for place in ((tensor.aligned,) if side == "aligned" else tensor.sft_places)
        )
        found = {place.scale for place in places if place and place.scale}
        return tuple(sorted(found, key=lambda scale: (scale.file, scale.offset)))


class Plan(Value):
    """All of the work of one recipe, and its size.

    side_files    copied byte for byte from the aligned checkpoint
    skipped       what only the SFT checkpoint has and nothing is made of: buffers, tied copies, extras
    copied        tensors of the aligned checkpoint that are taken over as they are
    left_out      files of the aligned checkpoint that are not copied
    sft_side_files  copied from the SFT checkpoint, where the aligned one is an adapter without them
    notices       how the two were matched where it was not by equal names and equal configs
    parameters    number of extrapolated elements
    output_bytes  of all shards
    input_bytes   of both checkpoints' weight files
    """

    recipe: Recipe
    shards: tuple[ShardJob, ...]
    side_files: tuple[str, ...]
    skipped: tuple[str, ...]
    copied: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    sft_side_files: tuple[str, ...] = ()
    parameters: int
    output_bytes: int
    input_bytes: int


def shard_header(tensors: Iterable[TensorJob]) -> bytes:
    """The first bytes of a shard with these tensors."""
    return build_header((tensor.name, tensor.dtype, tensor.shape) for tensor in tensors)
