"""Stage verdict: did it help? Both arms' judgments become a family's part of the report."""

import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from tasks.arms import model_artefact
from tasks.benchmarks.data import DIFFICULTY, cached, mt_bench_files
from tasks.benchmarks.dialogues import Rated, dialogues
from tasks.benchmarks.judge import Judge
from tasks.benchmarks.length_control import gain_error
from tasks.benchmarks.mt_bench_score import MTBenchScore, ratings, score_judgments
from tasks.benchmarks.score import AlpacaEvalScore, preferences, score_annotations
from tasks.errors import CorruptError
from tasks.families import Family
from tasks.generation.settings import Benchmark
from tasks.instructions import ALPACA_EVAL, MT_BENCH
from tasks.judge import Judgments
from tasks.progress import run_logger
from tasks.reports.run_report import AlphaPoint, AnswerRow, Dialogue, FamilyReport, StageCost, TensorNorm
from tasks.reports.seeds import NoiseBand, mean_figures, mean_scores, noise_band
from tasks.reports.statistics import paired_difference
from tasks.reports.verdict import ArmFigures, Verdict, decide
from tasks.reports.wording import benchmark_title
from tasks.stage import stage
from tasks.stores.artefact import Store
from tasks.values import fingerprint
from tasks.weights.manifest import read_manifest
from tasks.weights.recipe import Recipe

__all__ = ["FAMILY_REPORT", "verdict"]

FAMILY_REPORT = "family.json"
REFERENCE: dict[Benchmark, str] = {"alpaca_eval": "reference outputs", "mt_bench": "questions"}


@stage("verdict {family.name}")
def verdict(
    family: Family, recipe: Recipe, judged: tuple[Judgments, ...], curve: tuple[Judgments, ...], store: str
) -> str:
    """Writes the family's report into the store and gives its uri.

    judged  one for each arm that was run and each benchmark; two of a benchmark make a verdict
    curve   + ExPO at several α against the original, on held-out instructions
    """
    report = FamilyReport(
        family=family.name,
        alpha=recipe.alpha,
        verdicts=_verdicts(family, recipe, judged),
        alpha_curve=tuple(_point(judgments) for judgments in curve),
        norms=_norms(recipe, store),
        costs=_costs(judged),
        answers=_answers(judged),
        dialogues=_dialogues(judged),
        noise=_noise(judged),
        settings=_settings(recipe, judged),
    )
    name = fingerprint(report)
    artefact = Store(store).artefact("verdicts", name[:16])
    artefact.write(FAMILY_REPORT, report.model_dump_json().encode())
    artefact.seal(json.dumps({"family": family.name, "fingerprint": name}).encode())
    return artefact.uri


class _Asked(NamedTuple):
    """One benchmark's judgments of both arms, one for each seed; the original may have one more."""

    original: list[Judgments]
    expo: list[Judgments]


def _verdicts(family: Family, recipe: Recipe, judged: Sequence[Judgments]) -> tuple[Verdict, ...]:
    """One for each benchmark that both arms were judged on."""
    deciding = {"alpaca_eval": _on_alpaca_eval, "mt_bench": _on_mt_bench}
    return tuple(
        deciding[benchmark](family, recipe, asked.original[: len(asked.expo)], asked.expo)
        for benchmark, asked in _by_benchmark(judged).items()
        if asked.original and asked.expo
    )


def _by_benchmark(judged: Sequence[Judgments]) -> dict[Benchmark, _Asked]:
    groups: dict[Benchmark, _Asked] = {}
    for one in judged:
        asked = groups.setdefault(one.benchmark, _Asked([], []))
        (asked.original if one.generation.arm.name == "original" else asked.expo).append(one)
    return groups


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


def _noise(judged: Sequence[Judgments]) -> tuple[NoiseBand, ...]:
    """Of each benchmark that the original has answered more than once: its first and its last answers."""
    bands = []
    for benchmark, asked in _by_benchmark(judged).items():
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


def _difficulty() -> Path | None:
    """What length control needs; without it, or with a damaged file, there is no such figure."""
    try:
        return cached(DIFFICULTY)
    except CorruptError as error:
        run_logger().warning(f"no length-controlled win rate: {error}")
        return None


def _win_figures(judgments: Judgments, score: AlpacaEvalScore) -> ArmFigures:
    return ArmFigures(
        score=score.win_rate,
        standard_error=score.standard_error,
        lc_win_rate=score.lc_win_rate,
        lc_standard_error=score.lc_standard_error,
        discrete_win_rate=score.discrete_win_rate,
        **_answer_figures(judgments),
    )


def _rating_figures(judgments: Judgments, score: MTBenchScore) -> ArmFigures:
    return ArmFigures(
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


def _point(judgments: Judgments) -> AlphaPoint:
    """A point of the α curve: 50% is a draw with the original."""
    wins = [100 * share for share in preferences(judgments.path()).values()]
    gain = paired_difference([50.0] * len(wins), wins)
    summary = judgments.generation.summary
    return AlphaPoint(
        alpha=judgments.generation.arm.recipe.alpha,
        win_rate=50 + gain.mean,
        lower=50 + gain.lower,
        upper=50 + gain.upper,
        mean_length=summary.mean_characters,
        truncated=summary.truncated / summary.count,
    )


def _norms(recipe: Recipe, store: str) -> tuple[TensorNorm, ...]:
    content = model_artefact(Store(store), recipe).manifest()
    if content is None:
        return ()
    statistics = read_manifest(content).statistics
    return tuple(
        TensorNorm(name=one.name, aligned=one.norm, delta=one.update_norm)
        for one in statistics
        if isfinite(one.norm) and isfinite(one.update_norm)
    )


def _costs(judged: Sequence[Judgments]) -> tuple[StageCost, ...]:
    costs: list[StageCost] = []
    for judgments in judged:
        generation = judgments.generation
        what = f"{benchmark_title(judgments.benchmark)}, {generation.arm.label}"
        costs.append(StageCost(stage=f"generate {what}", seconds=generation.summary.seconds))
        costs.append(
            StageCost(
                stage=f"judge {what}",
                seconds=judgments.seconds,
                requests=judgments.usage.requests,
                dollars=judgments.dollars,
            )
        )
    return tuple(costs)


def _answers(judged: Sequence[Judgments]) -> tuple[AnswerRow, ...]:
    """Every instruction of AlpacaEval with both arms' answers, the reference's, and who won."""
    asked = _by_benchmark(judged).get("alpaca_eval")
    if not (asked and asked.original and asked.expo):
        return ()
    pair = (asked.original[0], asked.expo[0])
    rows = [json.loads(judgments.path().read_text()) for judgments in pair]
    shares = [preferences(judgments.path()) for judgments in pair]
    return tuple(
        AnswerRow(
            instruction=before["instruction"],
            reference=before["output_1"],
            original=before["output_2"],
            expo=after["output_2"],
            original_preference=shares[0].get(before["instruction"]),
            expo_preference=shares[1].get(before["instruction"]),
        )
        for before, after in zip(*rows, strict=True)
    )


def _dialogues(judged: Sequence[Judgments]) -> tuple[Dialogue, ...]:
    """Every question of MT-Bench with both arms' answers and the judge's words."""
    asked = _by_benchmark(judged).get("mt_bench")
    if not (asked and asked.original and asked.expo):
        return ()
    pair = (asked.original[0], asked.expo[0])
    original, expo = (Rated(one.generation.path(), one.path()) for one in pair)
    return dialogues(mt_bench_files(), original, expo)


def _settings(recipe: Recipe, judged: Sequence[Judgments]) -> dict[str, str]:
    """What the reader needs to judge the figures, and to make them again."""
    settings = {
        "aligned": f"{recipe.aligned.uri} at {recipe.aligned.commit}",
        "SFT": f"{recipe.sft.uri} at {recipe.sft.commit}",
        "α": f"{recipe.alpha:g}",
        "recipe": recipe.fingerprint,
    }
    for benchmark, asked in _by_benchmark(judged).items():
        judgments = [*asked.original, *asked.expo][0]
        generation, judge = judgments.generation, judgments.judge
        title = benchmark_title(benchmark)
        settings["engine"] = generation.summary.engine
        settings["chat template"] = f"sha256 {generation.summary.chat_template_sha256}"
        settings["judge"] = f"{judge.model} at {judge.url}"
        settings[f"{title}: sampling"] = generation.settings.sampling.model_dump_json()
        settings[f"{title}: judge's sampling"] = _sampling(judge, benchmark)
        settings[f"{title}: judge's fingerprint"] = judge.fingerprint(benchmark)
        settings[f"{title}: {REFERENCE[benchmark]}"] = f"sha256 {judgments.reference}"
    return settings


def _sampling(judge: Judge, benchmark: Benchmark) -> str:
    sampling = judge.rating if benchmark == "mt_bench" else judge.comparing
    orders = "; both orders" if judge.both_orders and benchmark == "alpaca_eval" else ""
    return f"{sampling.model_dump_json(exclude_none=True)}{orders}"
