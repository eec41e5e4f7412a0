"""Both arms' judgments, paired by what was asked: the verdict of each benchmark, and the noise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.benchmarks.data import DIFFICULTY, cached
from tasks.benchmarks.length_control import gain_error
from tasks.benchmarks.mt_bench_score import MTBenchScore, ratings, score_judgments
from tasks.benchmarks.score import AlpacaEvalScore, preferences, score_annotations
from tasks.core.errors import CorruptError
from tasks.core.families import Family
from tasks.generation.settings import Benchmark
from tasks.instructions import ALPACA_EVAL, MT_BENCH
from tasks.judge import Judgments
from tasks.runtime.progress import run_logger
from tasks.stats.decision import Verdict, decide
from tasks.stats.figures import ArmMetrics
from tasks.stats.seeds import NoiseBand, mean_figures, mean_scores, noise_band
from tasks.weights.recipe import Recipe

__all__ = ["Asked", "by_benchmark", "noise_bands", "verdicts"]


class Asked(NamedTuple):
    """One benchmark's judgments of both arms, one for each seed; the original may have one more."""

    original: list[Judgments]
    expo: list[Judgments]

    @property
    def pair(self) -> tuple[Judgments, Judgments] | None:
        """The first of each arm, None where an arm has none."""
        return (self.original[0], self.expo[0]) if self.original and self.expo else None


def by_benchmark(judged: Sequence[Judgments]) -> dict[Benchmark, Asked]:
    """Judgments grouped by benchmark and arm, in the order given."""
    groups: dict[Benchmark, Asked] = {}
    for one in judged:
        asked = groups.setdefault(one.benchmark, Asked([], []))
        (asked.original if one.generation.arm.name == "original" else asked.expo).append(one)
    return groups


def verdicts(family: Family, recipe: Recipe, judged: Sequence[Judgments]) -> tuple[Verdict, ...]:
    """One for each benchmark that both arms were judged on.

    Raises:
        InputError: an arm's judgments are of another form, or fewer than two items were judged in both.
        PermanentError: too little of an arm was judged.
    """
    deciding = {"alpaca_eval": _on_alpaca_eval, "mt_bench": _on_mt_bench}
    return tuple(
        deciding[benchmark](family, recipe, asked.original[: len(asked.expo)], asked.expo)
        for benchmark, asked in by_benchmark(judged).items()
        if asked.original and asked.expo
    )


def noise_bands(judged: Sequence[Judgments]) -> tuple[NoiseBand, ...]:
    """Of each benchmark that the original has answered more than once: its first and its last answers."""
    bands = []
    for benchmark, asked in by_benchmark(judged).items():
        if len(asked.original) < 2:
            continue
        first, again = asked.original[0], asked.original[-1]
        if benchmark == "mt_bench":
            turns, others = ratings(first.path()), ratings(again.path())
            questions = {turn: turn[0] for turn in turns}
            bands.append(noise_band(benchmark, first.judge.model, turns, others, questions))
        else:
            shares, theirs = (
                {key: 100 * share for key, share in preferences(one.path()).items()} for one in (first, again)
            )
            bands.append(noise_band(benchmark, first.judge.model, shares, theirs))
    return tuple(bands)


def _on_alpaca_eval(
    family: Family, recipe: Recipe, original: Sequence[Judgments], expo: Sequence[Judgments]
) -> Verdict:
    arms = (original, expo)
    scores = [[_alpaca_eval_score(one) for one in arm] for arm in arms]
    shares = [mean_scores([preferences(one.path()) for one in arm]) for arm in arms]
    figures = [
        mean_figures([_win_figures(one, score) for one, score in zip(arm, of_arm, strict=True)])
        for arm, of_arm in zip(arms, scores, strict=True)
    ]
    both = [one for one in shares[0] if one in shares[1]]
    return decide(
        family.name,
        recipe.alpha,
        family.instructions or ALPACA_EVAL,
        original[0].judge.model,
        original=figures[0],
        expo=figures[1],
        original_scores=[100 * shares[0][instruction] for instruction in both],
        expo_scores=[100 * shares[1][instruction] for instruction in both],
        n_failed=original[0].n_total - len(both),
        published=family.published,
        lc_error=gain_error(*([one.lc_resampled for one in of_arm] for of_arm in scores)),
        lc_note=scores[1][0].lc_note,
    )


def _on_mt_bench(
    family: Family, recipe: Recipe, original: Sequence[Judgments], expo: Sequence[Judgments]
) -> Verdict:
    arms = (original, expo)
    rated = [mean_scores([ratings(one.path()) for one in arm]) for arm in arms]
    figures = [mean_figures([_rating_figures(one, _mt_bench_score(one)) for one in arm]) for arm in arms]
    both = [turn for turn in rated[0] if turn in rated[1]]
    return decide(
        family.name,
        recipe.alpha,
        MT_BENCH,
        original[0].judge.model,
        original=figures[0],
        expo=figures[1],
        original_scores=[rated[0][turn] for turn in both],
        expo_scores=[rated[1][turn] for turn in both],
        clusters=[question for question, _ in both],
        n_failed=original[0].n_total - len(both),
        published=family.published,
    )


def _alpaca_eval_score(judgments: Judgments) -> AlpacaEvalScore:
    return score_annotations(judgments.path(), _difficulty(), min_judged=judgments.judge.min_judged)


def _mt_bench_score(judgments: Judgments) -> MTBenchScore:
    return score_judgments(judgments.path(), min_judged=judgments.judge.min_judged)


def _difficulty() -> Path | None:
    """What length control needs; without it, or with a damaged file, there is no such figure."""
    try:
        return cached(DIFFICULTY)
    except CorruptError as error:
        run_logger().warning(f"no length-controlled win rate: {error}")
        return None


def _win_figures(judgments: Judgments, score: AlpacaEvalScore) -> ArmMetrics:
    return ArmMetrics(
        score=score.win_rate,
        standard_error=score.standard_error,
        lc_win_rate=score.lc_win_rate,
        lc_standard_error=score.lc_standard_error,
        discrete_win_rate=score.discrete_win_rate,
        **_answer_figures(judgments),
    )


def _rating_figures(judgments: Judgments, score: MTBenchScore) -> ArmMetrics:
    return ArmMetrics(
        score=score.average,
        standard_error=score.standard_error,
        first_turn=score.first_turn,
        second_turn=score.second_turn,
        categories=score.categories,
        unparsed=score.n_unparsed,
        **_answer_figures(judgments),
    )


def _answer_figures(judgments: Judgments) -> dict[str, Any]:
    """What the answers are like, whoever judges them."""
    summary = judgments.generation.summary
    return {
        "mean_length": summary.mean_characters,
        "truncated": summary.truncated / summary.count,
        "repeating": summary.repeating / summary.count,
        "empty": summary.empty / summary.count,
    }
