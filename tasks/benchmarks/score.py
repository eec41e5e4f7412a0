"""Figures from AlpacaEval's annotation files, ours and anybody's: the package's own arithmetic.

score_annotations(Path("annotations.json"))                     win rate, standard error, counts
score_annotations(Path("annotations.json"), df_gamed)           …and length-controlled
preferences(Path("annotations.json"))                           for pairing two arms
"""

import hashlib
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.benchmarks.alpaca import load_package
from tasks.benchmarks.outputs import Row, read_annotations
from tasks.errors import InputError, PermanentError
from tasks.values import Value, canonical_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["INSTRUCTIONS_SHA256", "AlpacaEvalScore", "judge_of", "preferences", "score_annotations"]

# sha256 of the canonical JSON list of the 805 instructions, in AlpacaEval's order
INSTRUCTIONS_SHA256 = "d02007bfbcc8fcf624c641e8b70d53e82f7d0c061d12cf1b5695357e0d0090ce"
MIN_JUDGED = 0.95
RESAMPLES = 100


class AlpacaEvalScore(Value):
    """The figures of one annotation file. Rates and their errors are in %.

    judge              who judged; figures by different judges are never mixed
    win_rate           mean preference for the answer over the reference's
    standard_error     of the win rate
    discrete_win_rate  wins and half of the draws, each preference rounded
    lc_win_rate        length-controlled (arXiv 2404.04475), None where `lc_note` says why not
    lc_standard_error  of a bootstrap over the instructions that repeats the whole fit: the
                       package's own `lc_standard_error` is not one of the estimate
    mean_length        characters of an answer, rounded down as on the leaderboard
    n_total            items judged; n_failed: items without a judgment, in no figure
    n_identical        items whose two outputs are the same text: a draw, without asking
    """

    judge: str
    win_rate: float
    standard_error: float
    discrete_win_rate: float
    lc_win_rate: float | None
    lc_standard_error: float | None
    lc_note: str
    mean_length: int
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_identical: int
    n_total: int
    n_failed: int


class _LengthControl(NamedTuple):
    win_rate: float | None
    standard_error: float | None
    note: str


def score_annotations(
    annotations: Path,
    difficulty: Path | None = None,
    *,
    min_judged: float = MIN_JUDGED,
    resamples: int = RESAMPLES,
) -> AlpacaEvalScore:
    """The figures of a file of annotations, equal to the official leaderboard's for its files.

    `difficulty` is the verified df_gamed.csv, without which there is no length control.

    Raises:
        InputError: the file is not of AlpacaEval's form, or mixes several judges.
        PermanentError: less than `min_judged` of its items have a judgment.
    """
    rows = read_annotations(annotations)
    judge = judge_of(rows, annotations)
    n_failed = sum(_preference(row) is None for row in rows)
    if len(rows) - n_failed < min_judged * len(rows):
        raise PermanentError(
            f"{annotations}: {len(rows) - n_failed} of {len(rows)} items have a judgment and a figure "
            f"needs {min_judged:.0%}; judge the rest first"
        )
    load_package()
    from alpaca_eval.metrics import get_winrate

    figures = get_winrate([{"preference": _preference(row)} for row in rows])
    length_control = _length_control(rows, difficulty, resamples)
    return AlpacaEvalScore(
        judge=judge,
        lc_win_rate=length_control.win_rate,
        lc_standard_error=length_control.standard_error,
        lc_note=length_control.note,
        mean_length=int(sum(len(row["output_2"]) for row in rows) / len(rows)),
        n_identical=sum(row["output_1"] == row["output_2"] for row in rows),
        n_failed=n_failed,
        win_rate=float(figures["win_rate"]),
        standard_error=float(figures["standard_error"]),
        discrete_win_rate=float(figures["discrete_win_rate"]),
        n_wins=int(figures["n_wins"]),
        n_wins_base=int(figures["n_wins_base"]),
        n_draws=int(figures["n_draws"]),
        n_total=int(figures["n_total"]),
    )


def preferences(annotations: Path) -> dict[str, float]:
    """How much each answer is preferred to the reference's, 0 to 1, by instruction.

    Items without a judgment are left out, so that two arms are paired by what both have.

    Raises:
        InputError: the file is not of AlpacaEval's form, or an instruction is in it twice.
    """
    rows = read_annotations(annotations)
    judge_of(rows, annotations)
    if len({row["instruction"] for row in rows}) < len(rows):
        raise InputError(f"{annotations}: an instruction is in it more than once")
    judged = {row["instruction"]: _preference(row) for row in rows}
    return {name: preference - 1 for name, preference in judged.items() if preference is not None}


def _preference(row: Row) -> float | None:
    """1 to 2, None where there is no judgment: null, or -1 as older files have it. 0 was a draw."""
    value = row.get("preference")
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    value = float(value) or 1.5
    return value if 1 <= value <= 2 else None


def judge_of(rows: list[Row], annotations: Path) -> str:
    """The one judge of a file's rows.

    Raises:
        InputError: there are several.
    """
    judges = sorted({str(row.get("annotator", "unknown judge")) for row in rows})
    if len(judges) > 1:
        raise InputError(
            f"{annotations}: judged by {', '.join(judges)}; figures of several judges cannot be mixed"
        )
    return judges[0]


def _length_control(rows: list[Row], difficulty: Path | None, resamples: int) -> _LengthControl:
    instructions = [row["instruction"] for row in rows]
    if hashlib.sha256(canonical_json(instructions)).hexdigest() != INSTRUCTIONS_SHA256:
        return _LengthControl(
            None, None, "not available, because these are not AlpacaEval's 805 instructions in order"
        )
    if difficulty is None:
        return _LengthControl(None, None, "not available, because its data file df_gamed.csv is not there")
    import numpy as np

    frame = _frame(rows)
    generator = np.random.default_rng(0)
    draws = (generator.integers(0, len(frame), len(frame)) for _ in range(resamples))
    fits = [_fit(frame.iloc[draw], difficulty) for draw in draws]
    return _LengthControl(_fit(frame, difficulty), float(np.std(fits, ddof=1)), "")


def _frame(rows: list[Row]) -> "pd.DataFrame":
    """The rows with their position as index: the package joins each instruction's difficulty by it."""
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in ("output_1", "output_2")}
    preference = [_preference(row) for row in rows]
    return pd.DataFrame(
        {**columns, "preference": preference, "generator_1": "reference", "generator_2": "model"}
    )


def _fit(frame: "pd.DataFrame", difficulty: Path) -> float:
    """The package's length-controlled win rate in %, with our verified copy of its data."""
    from alpaca_eval.metrics import glm_winrate

    # the package would fetch whatever is newest; it is the same pinned file for everybody here
    glm_winrate.hf_hub_download = lambda **_: str(difficulty)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # scikit-learn's, a dozen a fit
        figures = glm_winrate.get_length_controlled_winrate(
            frame, save_weights_dir=None, is_add_glm_preference_inplace=False, is_warn_extreme_changes=False
        )
    return float(figures["length_controlled_winrate"])
