"""Sums of pieces, put together to one tensor's statistics."""

import math
from typing import TYPE_CHECKING

from tasks.core.errors import CorruptError
from tasks.weights.jobs import TensorJob
from tasks.weights.receipts import TensorStatistics
from tasks.weights.recipe import Recipe

if TYPE_CHECKING:
    from tasks.weights.kernel import BlockStats

__all__ = ["RunningStatistics"]


class RunningStatistics:
    """The statistics of one tensor at one α; pieces are added in order: a machine always gets the same."""

    def __init__(self, tensor: TensorJob, recipe: Recipe) -> None:
        self._tensor = tensor
        self._recipe = recipe
        self._squares = self._update_squares = self._product = self._largest = 0.0
        self._nonfinite = 0

    def add(self, sums: "BlockStats", nonfinite: int) -> None:
        """Adds a piece, with the count of NaN and Inf at this α.

        Raises:
            CorruptError: there are some, and the recipe does not allow them.
        """
        if nonfinite and self._recipe.nonfinite == "error":
            raise CorruptError(self._complaint(sums, nonfinite))
        self._squares += sums.squares
        self._update_squares += sums.update_squares
        self._product += sums.product
        self._largest = sums.largest if math.isnan(sums.largest) else max(self._largest, sums.largest)
        self._nonfinite += nonfinite

    def result(self) -> TensorStatistics:
        """The statistics of all pieces so far."""
        norm, update_norm = math.sqrt(self._squares), math.sqrt(self._update_squares)
        return TensorStatistics(
            name=self._tensor.name,
            elements=self._tensor.elements,
            alpha=self._tensor.alpha,
            norm=norm,
            update_norm=update_norm,
            cosine=self._product / (norm * update_norm) if norm * update_norm else 0.0,
            largest_update=self._largest,
            nonfinite=self._nonfinite,
        )

    def _complaint(self, sums: "BlockStats", count: int) -> str:
        tensor = self._tensor
        if math.isfinite(sums.squares) and math.isfinite(sums.update_squares):
            return (
                f"tensor {tensor.name!r}: {count} values overflow {tensor.dtype} at α = {tensor.alpha}; "
                "choose --dtype bfloat16 or float32, or --nonfinite allow"
            )
        sft = tensor.sft if math.isfinite(sums.squares) else None
        if tensor.aligned is None:  # the sum of both: NaN is the adapter's if its update has some
            sft = tensor.sft if tensor.low_rank is None or math.isfinite(sums.update_squares) else None
        side, checkpoint = ("SFT", self._recipe.sft) if sft else ("aligned", self._recipe.aligned)
        place = sft or tensor.aligned or (tensor.low_rank.a if tensor.low_rank else None)
        assert place is not None
        return (
            f"the {side} checkpoint {checkpoint.uri}: tensor {tensor.name!r}: NaN or Inf in "
            f"{place.file}, {count} values of one piece; fetch the file again, or choose "
            "--nonfinite allow if the model is meant to have them"
        )
