"""How exact an extrapolated checkpoint is: against float64, away from ties.

An element is right when it is the bf16 number nearest to θ_1 + α · (θ_1 − θ_0) computed in
float64 from the parents. Where the exact result lies half-way between two bf16 numbers, the
last bit of α decides, and neither neighbor is wrong: those elements are counted apart.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

__all__ = ["Accuracy", "accuracy"]

TIE = 1e-3
MANTISSA = 7


class Accuracy(NamedTuple):
    """Shares of the elements that were looked at, 0 to 1.

    off_ties  right, of those that are no ties
    ties      within a thousandth of a unit in the last place of a half-way point
    elements  that were looked at
    """

    off_ties: float
    ties: float
    elements: int


def accuracy(aligned: Path, sft: Path, made: Path, alpha: float, tensors: int = 8) -> Accuracy:
    """Looks at whole tensors, at equal distances through the checkpoint."""
    names = sorted(_places(aligned))
    right = ties = total = 0
    for name in names[:: max(1, len(names) // tensors)][:tensors]:
        new, old, out = (_read(folder, name) for folder in (aligned, sft, made))
        exact = new + alpha * (new - old)
        # frexp gives a mantissa in [0.5, 1): the unit in the last place is 2^(exponent − 8)
        ulp = np.ldexp(1.0, np.frexp(exact)[1] - MANTISSA - 1)
        error = np.abs(out - exact) / ulp
        tie = np.abs(error - 0.5) < TIE
        right += int(((error < 0.5) & ~tie).sum())
        ties += int(tie.sum())
        total += exact.size
    return Accuracy(off_ties=right / max(1, total - ties), ties=ties / total, elements=total)


def _places(folder: Path) -> dict[str, Path]:
    return dict(_listed(folder))


def _listed(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                yield name, path


def _read(folder: Path, name: str) -> NDArray[np.float64]:
    with safe_open(_places(folder)[name], "pt") as file:
        values: NDArray[np.float64] = file.get_tensor(name).to(torch.float64).numpy()
        return values
