"""Stage verdict: did it help? Both arms' judgments become a family's part of the report."""

import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from tasks.arms import model_artefact
from tasks.benchmarks.data import DIFFICULTY, cached
from tasks.benchmarks.score import AlpacaEvalScore, preferences, score_annotations
from tasks.errors import CorruptError
from tasks.families import Family
from tasks.instructions import ALPACA_EVAL
from tasks.judge import Judgments
from tasks.progress import run_logger
from tasks.reports.run_report import AlphaPoint, AnswerRow, FamilyReport, StageCost, TensorNorm
from tasks.reports.statistics import paired_difference
from tasks.reports.verdict import ArmFigures, Verdict, decide
from tasks.stage import stage
from tasks.stores.artefact import Store
from tasks.values import fingerprint
from tasks.weights.manifest import read_manifest
from tasks.weights.recipe import Recipe

__all__ = ["FAMILY_REPORT", "verdict"]

FAMILY_REPORT = "family.json"


@stage("verdict {family.name}")
def verdict(
    family: Family, recipe: Recipe, judged: tuple[Judgments, ...], curve: tuple[Judgments, ...], store: str
) -> str:
    """Writes the family's report into the store and gives its uri.

    judged  one for each arm that was run; two make a verdict
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
        settings=_settings(recipe, judged),
    )
    name = fingerprint(report)
    artefact = Store(store).artefact("verdicts", name[:16])
    artefact.write(FAMILY_REPORT, report.model_dump_json().encode())
    artefact.seal(json.dumps({"family": family.name, "fingerprint": name}).encode())
    return artefact.uri


def _verdicts(family: Family, recipe: Recipe, judged: Sequence[Judgments]) -> tuple[Verdict, ...]:
    if len(judged) < 2:
        return ()
    scores = [score_annotations(judgments.annotations(), _difficulty()) for judgments in judged]
    shares = [preferences(judgments.annotations()) for judgments in judged]
    both = [one for one in shares[0] if one in shares[1]]
    one = decide(
        family.name,
        recipe.alpha,
        family.instructions or ALPACA_EVAL,
        judged[0].judge.model,
        original=_figures(judged[0], scores[0]),
        expo=_figures(judged[1], scores[1]),
        original_scores=[100 * shares[0][instruction] for instruction in both],
        expo_scores=[100 * shares[1][instruction] for instruction in both],
        n_failed=judged[0].generation.summary.count - len(both),
        published=family.published,
        lc_note=scores[1].lc_note,
    )
    return (one,)


def _difficulty() -> Path | None:
    """What length control needs; without it, or with a damaged file, there is no such figure."""
    try:
        return cached(DIFFICULTY)
    except CorruptError as error:
        run_logger().warning(f"no length-controlled win rate: {error}")
        return None


def _figures(judgments: Judgments, score: AlpacaEvalScore) -> ArmFigures:
    summary = judgments.generation.summary
    return ArmFigures(
        score=score.win_rate,
        standard_error=score.standard_error,
        lc_win_rate=score.lc_win_rate,
        mean_length=summary.mean_characters,
        truncated=summary.truncated / summary.count,
        repeating=summary.repeating / summary.count,
        empty=summary.empty / summary.count,
    )


def _point(judgments: Judgments) -> AlphaPoint:
    """A point of the α curve: 50% is a draw with the original."""
    wins = [100 * share for share in preferences(judgments.annotations()).values()]
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
        costs.append(StageCost(stage=f"generate {generation.arm.label}", seconds=generation.summary.seconds))
        costs.append(
            StageCost(
                stage=f"judge {generation.arm.label}",
                seconds=judgments.seconds,
                requests=judgments.usage.requests,
                dollars=judgments.dollars,
            )
        )
    return tuple(costs)


def _answers(judged: Sequence[Judgments]) -> tuple[AnswerRow, ...]:
    """Every instruction with both arms' answers, the reference's, and who won."""
    if len(judged) < 2:
        return ()
    rows = [json.loads(judgments.annotations().read_text()) for judgments in judged]
    shares = [preferences(judgments.annotations()) for judgments in judged]
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


def _settings(recipe: Recipe, judged: Sequence[Judgments]) -> dict[str, str]:
    """What the reader needs to judge the figures, and to make them again."""
    settings = {
        "aligned": f"{recipe.aligned.uri} at {recipe.aligned.commit}",
        "SFT": f"{recipe.sft.uri} at {recipe.sft.commit}",
        "α": f"{recipe.alpha:g}",
        "recipe": recipe.fingerprint,
    }
    for judgments in judged[:1]:
        generation = judgments.generation
        settings["engine"] = generation.summary.engine
        settings["sampling"] = generation.settings.sampling.model_dump_json()
        settings["chat template"] = f"sha256 {generation.summary.chat_template_sha256}"
        settings["judge"] = f"{judgments.judge.model} at {judgments.judge.url}"
        settings["reference outputs"] = f"sha256 {judgments.reference}"
    return settings
