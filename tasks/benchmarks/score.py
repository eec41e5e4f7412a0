"""Figures from AlpacaEval's annotation files, ours and anybody's: the package's own arithmetic.

score_annotations(Path("annotations.json"))                     win rate, standard error, counts
score_annotations(Path("annotations.json"), df_gamed)           …and length-controlled
preferences(Path("annotations.json"))                           for pairing two arms
"""

from pathlib import Path

from pydantic import Field

from tasks.benchmarks.alpaca import load_package
from tasks.benchmarks.length_control import RESAMPLES, length_control
from tasks.benchmarks.outputs import Row, preference_of, read_annotations
from tasks.core.errors import InputError, PermanentError
from tasks.core.values import Value

__all__ = ["AlpacaEvalScore", "judge_of", "preferences", "score_annotations"]

MIN_JUDGED = 0.95


class AlpacaEvalScore(Value):
    """The figures of one annotation file. Rates and their errors are in %.

    judge              who judged; figures by different judges are never mixed
    win_rate           mean preference for the answer over the reference's
    standard_error     of the win rate
    discrete_win_rate  wins and half of the draws, each preference rounded
    lc_win_rate        length-controlled (arXiv 2404.04475), None where `lc_note` says why not
    lc_standard_error  of a bootstrap over the instructions that repeats the whole fit: the
                       package's own `lc_standard_error` is not one of the estimate
    lc_resampled       the length-controlled win rates of that bootstrap; the same instructions are
                       drawn for every file, so those of two arms are paired (not in the JSON)
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
    lc_resampled: tuple[float, ...] = Field(default=(), exclude=True, repr=False)
    lc_note: str
    mean_length: int
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_identical: int
    n_total: int
    n_failed: int


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
    n_failed = sum(preference_of(row) is None for row in rows)
    if len(rows) - n_failed < min_judged * len(rows):
        raise PermanentError(
            f"{annotations}: {len(rows) - n_failed} of {len(rows)} items have a judgment and a figure "
            f"needs {min_judged:.0%}; judge the rest first"
        )
    load_package()
    from alpaca_eval.metrics import get_winrate

    figures = get_winrate([{"preference": preference_of(row)} for row in rows])
    controlled = length_control(rows, difficulty, resamples)
    return AlpacaEvalScore(
        judge=judge,
        lc_win_rate=controlled.win_rate,
        lc_standard_error=controlled.standard_error,
        lc_resampled=controlled.resampled,
        lc_note=controlled.note,
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
    judged = {row["instruction"]: preference_of(row) for row in rows}
    return {name: preference - 1 for name, preference in judged.items() if preference is not None}


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
