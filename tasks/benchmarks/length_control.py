"""AlpacaEval's length-controlled win rate (arXiv 2404.04475): the package's fit, and a bootstrap of it."""

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.benchmarks.alpaca_files import Row, preference_of
from tasks.core.values import canonical_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["INSTRUCTIONS_SHA256", "RESAMPLES", "LengthControl", "length_control"]

# sha256 of the canonical JSON list of the 805 instructions, in AlpacaEval's order
INSTRUCTIONS_SHA256 = "d02007bfbcc8fcf624c641e8b70d53e82f7d0c061d12cf1b5695357e0d0090ce"
RESAMPLES = 100  # fits, a quarter of a second each


class LengthControl(NamedTuple):
    """The length-controlled win rate in % and its bootstrap standard error, or why there is none.

    resampled  the rate of each resample: the same instructions are drawn for every file
    """

    win_rate: float | None
    standard_error: float | None
    note: str
    resampled: tuple[float, ...] = ()


def length_control(rows: list[Row], difficulty: Path | None, resamples: int = RESAMPLES) -> LengthControl:
    """Length control of a file's rows, where it can be had; without it the note says why not."""
    instructions = [row["instruction"] for row in rows]
    if hashlib.sha256(canonical_json(instructions)).hexdigest() != INSTRUCTIONS_SHA256:
        return _without("these are not AlpacaEval's 805 instructions in order")
    if difficulty is None:
        return _without("its data file df_gamed.csv is not there")
    frame = _frame(rows)
    judged = frame[frame["preference"].notna()]
    if (judged["output_1"].str.len() - judged["output_2"].str.len()).nunique() < 2:
        return _without(
            "all answers differ from the reference's by the same length: there is nothing to control"
        )
    try:
        return _controlled(frame, difficulty, resamples)
    except ValueError as error:  # scikit-learn's, of lengths or preferences that its model cannot take
        return _without(f"its model cannot be fitted to these lengths and preferences ({_first_line(error)})")


def _controlled(frame: "pd.DataFrame", difficulty: Path, resamples: int) -> LengthControl:
    """The fit and its bootstrap.

    Raises:
        ValueError: the model cannot be fitted, or gives no finite figure.
    """
    import numpy as np

    rate = _fit(frame, difficulty)
    generator = np.random.default_rng(0)
    draws = (generator.integers(0, len(frame), len(frame)) for _ in range(resamples))
    fits = tuple(_fit(frame.iloc[draw], difficulty) for draw in draws)
    if not np.isfinite([rate, *fits]).all():
        raise ValueError("it gives no finite win rate")
    return LengthControl(rate, float(np.std(fits, ddof=1)), "", fits)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:120]


def _without(why: str) -> LengthControl:
    return LengthControl(None, None, f"not available, because {why}")


def _frame(rows: list[Row]) -> "pd.DataFrame":
    """The rows with their position as index: the package joins each instruction's difficulty by it."""
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in ("output_1", "output_2")}
    preference = [preference_of(row) for row in rows]
    return pd.DataFrame(
        {**columns, "preference": preference, "generator_1": "reference", "generator_2": "model"}
    )


def _fit(frame: "pd.DataFrame", difficulty: Path) -> float:
    """The package's length-controlled win rate in %, with the verified copy of its data."""
    from alpaca_eval.metrics import glm_winrate

    # the package would fetch whatever is newest; it is the same pinned file for everybody here
    glm_winrate.hf_hub_download = lambda **_: str(difficulty)
    with warnings.catch_warnings(action="ignore"):  # scikit-learn's and numpy's, a dozen a fit
        figures = glm_winrate.get_length_controlled_winrate(
            frame, save_weights_dir=None, is_add_glm_preference_inplace=False, is_warn_extreme_changes=False
        )
    return float(figures["length_controlled_winrate"])
