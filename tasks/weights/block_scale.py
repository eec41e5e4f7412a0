"""The scales of a quantized weight matrix: a grid of factors, one for each block of it."""

from tasks.core.values import Value

__all__ = ["BlockScale"]


class BlockScale(Value):
    """Element [i, j] of the matrix is multiplied by [i // block rows, j // block columns] of the grid.

    dtype   of the grid: "F32", "BF16" or "F16"
    shape   of the grid: (rows, columns); (1, 1) for one factor of the whole matrix
    file    that holds it, row-major from `offset` on
    block   rows and columns of the matrix that share a factor
    """

    dtype: str
    shape: tuple[int, int]
    file: str
    offset: int
    nbytes: int
    block: tuple[int, int]
