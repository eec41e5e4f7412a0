"""Two files of judgments against each other: the verdict of any two models, paired item by item.

compare(Path("a/annotations.json"), Path("b/annotations.json"))      AlpacaEval's, by instruction
compare(Path("a.jsonl"), Path("b.jsonl"))                            MT-Bench's, by question
"""

from pathlib import Path
from typing import Any, NamedTuple

from tasks.benchmarks.length_control import gain_error
from tasks.benchmarks.mt_bench_score import MTBenchScore, model_of, ratings, score_judgments
from tasks.benchmarks.outputs import read_annotations
from tasks.benchmarks.score import AlpacaEvalScore, preferences, score_annotations
from tasks.core.errors import InputError
from tasks.stats.decision import Verdict, decide
from tasks.stats.figures import ArmMetrics

__all__ = ["Comparison", "Score", "compare"]

Score = AlpacaEvalScore | MTBenchScore


class Comparison(NamedTuple):
    """Two models, the figures of each, and the verdict: the second against the first."""

    names: tuple[str, str]
    scores: tuple[Score, Score]
    verdict: Verdict


def compare(first: Path, second: Path, difficulty: Path | None = None) -> Comparison:
    """Decides whether the second file's model is better than the first's.

    `difficulty` is the verified df_gamed.csv, without which there is no length control.

    Raises:
        InputError: the files are of two benchmarks, judges or references, or share too few items.
        PermanentError: too little of one of them was judged.
    """
    if (first.suffix == ".jsonl") != (second.suffix == ".jsonl"):
        raise InputError(f"{first}, {second}: one is MT-Bench's (.jsonl) and one is not; give two of a kind")
    is_mt_bench = first.suffix == ".jsonl"
    scores = (_score(first, difficulty), _score(second, difficulty))
    if scores[0].judge != scores[1].judge:
        raise InputError(
            f"{first} was judged by {scores[0].judge} and {second} by {scores[1].judge}; "
            "figures by different judges are not compared"
        )
    names = (model_of(first), model_of(second)) if is_mt_bench else (_model(first), _model(second))
    if not is_mt_bench:
        _require_one_reference(first, second)
    items = [ratings(path) if is_mt_bench else _shares(path) for path in (first, second)]
    both = [item for item in items[0] if item in items[1]]
    either = len(items[0].keys() | items[1].keys())
    verdict = decide(
        names[1],
        0.0,
        "mt_bench" if is_mt_bench else "alpaca_eval",
        scores[0].judge,
        original=_figures(scores[0]),
        expo=_figures(scores[1]),
        original_scores=[items[0][item] for item in both],
        expo_scores=[items[1][item] for item in both],
        clusters=[item[0] for item in both] if is_mt_bench else None,
        n_failed=either - len(both),
        lc_error=gain_error(*([_resampled(score)] for score in scores)),
    )
    return Comparison(names, scores, verdict)


def _score(path: Path, difficulty: Path | None) -> Score:
    return score_judgments(path) if path.suffix == ".jsonl" else score_annotations(path, difficulty)


def _shares(annotations: Path) -> dict[Any, float]:
    return {instruction: 100 * share for instruction, share in preferences(annotations).items()}


def _figures(score: Score) -> ArmMetrics:
    if isinstance(score, MTBenchScore):
        return ArmMetrics(score=score.average, standard_error=score.standard_error, mean_length=0)
    return ArmMetrics(
        score=score.win_rate,
        standard_error=score.standard_error,
        lc_win_rate=score.lc_win_rate,
        mean_length=score.mean_length,
    )


def _resampled(score: Score) -> tuple[float, ...]:
    return () if isinstance(score, MTBenchScore) else score.lc_resampled


def _model(annotations: Path) -> str:
    return str(read_annotations(annotations)[0].get("generator_2", annotations.stem))


def _require_one_reference(first: Path, second: Path) -> None:
    references = {row["instruction"]: row["output_1"] for row in read_annotations(first)}
    for row in read_annotations(second):
        if references.get(row["instruction"], row["output_1"]) != row["output_1"]:
            raise InputError(
                f"{first}, {second}: judged against two references (first at {row['instruction'][:60]!r}); "
                "only win rates over the same outputs can be compared"
            )
