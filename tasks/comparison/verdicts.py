"""Both arms' judgments, paired by what was asked: the verdict of each benchmark, and the noise."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from tasks.benchmarks.lineage import judge_names, shared_lineage
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.registry import find_benchmark
from tasks.comparison.instructions import instructions_of
from tasks.comparison.pairing import arm_result, paired_items
from tasks.comparison.results import Judgments
from tasks.core.families import Family
from tasks.stats.decision import Verdict, decide, decide_guard
from tasks.stats.margins import GuardResult
from tasks.stats.metrics import ArmResult
from tasks.stats.seeds import NoiseBand, mean_result, noise_band
from tasks.weights.recipe import Recipe

__all__ = ["Asked", "by_benchmark", "noise_bands", "verdicts"]


NO_GUARDS: Mapping[str, float] = MappingProxyType({})


class Asked(NamedTuple):
    """One benchmark's judgments of both arms, one for each seed; the original may have one more."""

    original: list[Judgments]
    expo: list[Judgments]

    @property
    def pair(self) -> tuple[Judgments, Judgments] | None:
        """The first of each arm, None where an arm has none."""
        return (self.original[0], self.expo[0]) if self.original and self.expo else None


def by_benchmark(judged: Sequence[Judgments]) -> dict[str, Asked]:
    """Judgments grouped by benchmark and arm, in the order given."""
    groups: dict[str, Asked] = {}
    for judgments in judged:
        asked = groups.setdefault(judgments.benchmark, Asked([], []))
        (asked.original if judgments.generation.arm.name == "original" else asked.expo).append(judgments)
    return groups


def verdicts(
    family: Family, recipe: Recipe, judged: Sequence[Judgments], margins: Mapping[str, float] = NO_GUARDS
) -> tuple[Verdict, ...]:
    """One for each benchmark that both arms were judged on, each with the run's guards.

    margins  points that may be lost, of those benchmarks that are guards

    Raises:
        InputError: an arm's judgments are of another form, or fewer than two items were judged in both.
        PermanentError: too little was judged in both arms.
    """
    paired = {name: asked for name, asked in by_benchmark(judged).items() if asked.pair}
    guards = tuple(
        _guard(find_benchmark(name), paired[name], margin)
        for name, margin in margins.items()
        if name in paired
    )
    return tuple(
        _verdict(family, recipe, find_benchmark(name), asked, guards)
        for name, asked in paired.items()
        if name not in margins
    )


def noise_bands(judged: Sequence[Judgments]) -> tuple[NoiseBand, ...]:
    """For each benchmark that the original answered more than once: its first answers against its last."""
    bands = []
    for name, asked in by_benchmark(judged).items():
        if len(asked.original) < 2:
            continue
        pair, benchmark = (asked.original[0], asked.original[-1]), find_benchmark(name)
        items = paired_items(benchmark, [judgments.path() for judgments in pair], pair[0].judge.min_judged)
        first, again = (_result(benchmark, judgments, items) for judgments in pair)
        bands.append(noise_band(name, benchmark.judge_name(pair[0].judge), first, again))
    return tuple(bands)


def _guard(benchmark: Benchmark, asked: Asked, margin: float) -> GuardResult:
    rule = benchmark.judge_name(asked.original[0].judge)
    return decide_guard(benchmark.name, rule, margin, *_arms(benchmark, asked))


def _arms(benchmark: Benchmark, asked: Asked) -> tuple[ArmResult, ArmResult]:
    """Both arms' results, over the items that are judged in every generation of both."""
    arms, judge = (asked.original[: len(asked.expo)], asked.expo), asked.original[0].judge
    files = [judgments.path() for arm in arms for judgments in arm]
    items = paired_items(benchmark, files, judge.min_judged)
    original, expo = (
        mean_result([_result(benchmark, judgments, items) for judgments in arm]) for arm in arms
    )
    return original, expo


def _verdict(
    family: Family, recipe: Recipe, benchmark: Benchmark, asked: Asked, guards: Sequence[GuardResult]
) -> Verdict:
    original, expo = _arms(benchmark, asked)
    asked_of, published = instructions_of(family, benchmark.name), family.published
    verdict = decide(
        family.name,
        recipe.alpha,
        asked_of,
        benchmark.judge_name(asked.original[0].judge),
        original,
        expo,
        unit=benchmark.measure.unit,
        published=benchmark.published(published) if published and asked_of == benchmark.name else None,
        guards=guards,
    )
    models = (family.aligned, family.sft, family.architecture)
    return verdict.model_copy(
        update={"warning": shared_lineage(judge_names(asked.original[0].judge), models)}
    )


def _result(benchmark: Benchmark, judgments: Judgments, items: Collection[Hashable]) -> ArmResult:
    """One generation's result, with the metrics of its answers."""
    score = benchmark.score(judgments.path(), items=items, min_judged=judgments.judge.min_judged)
    result = arm_result(benchmark, judgments.path(), score, items)
    return result.model_copy(update={"metrics": result.metrics.model_copy(update=_answers(judgments))})


def _answers(judgments: Judgments) -> dict[str, Any]:
    summary = judgments.generation.summary
    return {
        "mean_length": summary.mean_characters,
        "truncated": summary.truncated / summary.count,
        "repeating": summary.repeating / summary.count,
        "empty": summary.empty / summary.count,
        "not_answered": summary.failures,
        "median_mass": judgments.median_mass,
    }
