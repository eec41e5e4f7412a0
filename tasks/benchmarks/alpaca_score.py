"""Figures from any AlpacaEval annotation file, by the package's own arithmetic.

score_annotations(Path("annotations.json"))                     win rate, standard error, counts
score_annotations(Path("annotations.json"), df_gamed)           …and length-controlled
preferences(Path("annotations.json"))                           for pairing two arms
"""

from collections import Counter
from collections.abc import Collection, Hashable
from pathlib import Path
from statistics import median

from pydantic import Field

from tasks.benchmarks.alpaca_files import Row, preference_of, read_annotations
from tasks.benchmarks.alpaca_judge import RAW, WHY_NONE, load_package
from tasks.benchmarks.alpaca_mass import name_mass
from tasks.benchmarks.figures import MIN_JUDGED, ONE_ITEM, UNKNOWN_CAUSE, UNKNOWN_JUDGE, Score
from tasks.benchmarks.length_control import RESAMPLES, length_control
from tasks.core.errors import InputError, PermanentError
from tasks.core.text_files import one_line
from tasks.stats.metrics import ArmMetrics

__all__ = [
    "AlpacaEvalScore",
    "item_preferences",
    "judge_of",
    "median_mass",
    "preferences",
    "score_annotations",
    "why_not_judged",
]

# fields that hold the judge's reply: of a run here, and of alpaca_eval's published files
REPLIES = (RAW, f"{RAW}_swapped", "raw_completion")


class AlpacaEvalScore(Score):
    """The figures of one annotation file. Rates and their errors are in %.

    judge              who judged; figures by different judges are never mixed
    win_rate           mean preference for the answer over the reference's
    standard_error     of the win rate, None where `standard_error_note` says why not
    discrete_win_rate  wins and half of the draws, each preference rounded
    lc_win_rate        length-controlled (arXiv 2404.04475), None where `lc_note` says why not
    lc_standard_error  of a bootstrap over the instructions that repeats the whole fit: the
                       package's own `lc_standard_error` is not one of the estimate
    lc_resampled       the length-controlled win rates of that bootstrap; the same instructions are
                       drawn for every file, so those of two arms are paired (not in the JSON)
    mean_length        characters of an answer, rounded down as on the leaderboard
    n_total            items judged; n_failed: items without a judgment, in no figure
    n_identical        items whose two outputs are the same text: a draw, without asking
    not_judged         those without a judgment by cause, as far as the file says it
    median_mass        the median part of the likeliest tokens' probability that the two names have,
                       0 to 1; None for a file that does not hold the judge's log-probabilities
    """

    judge: str
    win_rate: float
    standard_error: float | None
    standard_error_note: str = ""
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
    not_judged: dict[str, int]
    median_mass: float | None

    def metrics(self) -> ArmMetrics:
        """Of the preferences, and the answers' mean length."""
        if self.standard_error is None:
            raise InputError(f"a verdict needs at least two judged items; there is {self.n_total}")
        return ArmMetrics(
            score=self.win_rate,
            standard_error=self.standard_error,
            lc_win_rate=self.lc_win_rate,
            lc_standard_error=self.lc_standard_error,
            discrete_win_rate=self.discrete_win_rate,
            mean_length=self.mean_length,
            not_judged=self.not_judged,
        )

    @property
    def resampled(self) -> tuple[float, ...]:
        """The length-controlled win rates of the bootstrap."""
        return self.lc_resampled

    @property
    def note(self) -> str | None:
        """Why there is no length-controlled win rate."""
        return self.lc_note


def score_annotations(
    annotations: Path,
    difficulty: Path | None = None,
    *,
    items: Collection[Hashable] | None = None,
    min_judged: float = MIN_JUDGED,
    resamples: int = RESAMPLES,
) -> AlpacaEvalScore:
    """The figures of a file of annotations, equal to the official leaderboard's for its files.

    difficulty  the verified df_gamed.csv, without which there is no length control
    items       the instructions that count, the others being left out as if not judged; None: all

    Raises:
        InputError: the file is not of AlpacaEval's form.
        PermanentError: less than `min_judged` of its items have a judgment.
    """
    rows = read_annotations(annotations)
    judge = judge_of(rows)
    not_judged = why_not_judged(rows)
    n_failed = sum(not_judged.values())
    _require_judged(annotations, len(rows) - n_failed, len(rows), min_judged)
    if items is not None:
        rows = [row if row["instruction"] in items else {**row, "preference": None} for row in rows]
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
        not_judged=not_judged,
        median_mass=median_mass(rows),
        win_rate=float(figures["win_rate"]),
        standard_error=float(figures["standard_error"]) if figures["n_total"] > 1 else None,
        standard_error_note="" if figures["n_total"] > 1 else ONE_ITEM,
        discrete_win_rate=float(figures["discrete_win_rate"]),
        n_wins=int(figures["n_wins"]),
        n_wins_base=int(figures["n_wins_base"]),
        n_draws=int(figures["n_draws"]),
        n_total=int(figures["n_total"]),
    )


def _require_judged(annotations: Path, judged: int, count: int, min_judged: float) -> None:
    if judged < min_judged * count:
        raise PermanentError(
            f"{annotations}: {judged} of {count} items have a judgment and a figure "
            f"needs {min_judged:.0%}; judge the rest first"
        )
    if not judged:
        raise PermanentError(f"{annotations}: no item has a judgment; judge them first")


def item_preferences(annotations: Path) -> dict[str, float | None]:
    """How much each answer is preferred to the reference's, 0 to 1, by instruction; None without a judgment.

    Raises:
        InputError: the file is not of AlpacaEval's form.
    """
    judged = {row["instruction"]: preference_of(row) for row in read_annotations(annotations)}
    return {name: None if preference is None else preference - 1 for name, preference in judged.items()}


def preferences(annotations: Path) -> dict[str, float]:
    """The same for the instructions that have a judgment: two arms are paired by what both have."""
    return {item: share for item, share in item_preferences(annotations).items() if share is not None}


def why_not_judged(rows: list[Row]) -> dict[str, int]:
    """The rows without a judgment, by cause."""
    unjudged = [row for row in rows if preference_of(row) is None]
    return dict(Counter(str(row.get(WHY_NONE) or UNKNOWN_CAUSE) for row in unjudged))


def median_mass(rows: list[Row]) -> float | None:
    """The median part of the likeliest tokens' probability that the two names have; None if not known."""
    replies = [row.get(name) for row in rows for name in REPLIES]
    masses = [name_mass(reply) for reply in replies if isinstance(reply, dict)]
    known = [mass for mass in masses if mass is not None]
    return median(known) if known else None


def judge_of(rows: list[Row]) -> str:
    """The one judge of a file's rows; UNKNOWN_JUDGE where they do not say."""
    return one_line(str(rows[0].get("annotator", UNKNOWN_JUDGE)))
