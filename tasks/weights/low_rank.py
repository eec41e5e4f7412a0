"""A low-rank update of one weight matrix, as an adapter holds it."""

from tasks.core.values import Value
from tasks.weights.headers import TensorRange

__all__ = ["LowRank"]


class LowRank(Value):
    """Δ = scale · B·A, or its transpose, of a weight of shape (rows, columns).

    a           (rank, columns) in the adapter's file; of a transposed update (rank, rows)
    b           (rows, rank); of a transposed update (columns, rank)
    scale       lora_alpha / rank, of rs-LoRA lora_alpha / √rank
    transposed  whether Δ = scale · (B·A)ᵀ: embeddings, and GPT-2's Conv1D
    magnitude   DoRA's, (rows,): θ_aligned = magnitude · (θ_sft + Δ) / ‖θ_sft + Δ‖ row by row; else None
    """

    a: TensorRange
    b: TensorRange
    scale: float
    transposed: bool = False
    magnitude: TensorRange | None = None

    @property
    def rank(self) -> int:
        """The number of rows of A."""
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the update: that of the weight it belongs to."""
        rows, columns = self.b.shape[0], self.a.shape[1]
        return (columns, rows) if self.transposed else (rows, columns)

    @property
    def nbytes(self) -> int:
        """Of its factors in the adapter's file."""
        return self.a.nbytes + self.b.nbytes + (self.magnitude.nbytes if self.magnitude else 0)
