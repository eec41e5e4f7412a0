"""Stage verdict: did it help? Both arms' judgments become a family's part of the report."""

import json
from collections.abc import Sequence
from math import isfinite

from tasks.benchmarks.registry import find_benchmark, judge_fingerprint, measure_of
from tasks.comparison.results import Judgments
from tasks.comparison.side_by_side import side_by_side
from tasks.comparison.verdicts import by_benchmark, noise_bands, verdicts
from tasks.core.families import COST_SETTINGS, Family
from tasks.core.values import fingerprint
from tasks.reports.norms import TensorNorm
from tasks.reports.run_report import AlphaPoint, FamilyReport, PublishedCost, StageCost
from tasks.reports.stored import FAMILY_REPORT
from tasks.runtime.stage import stage
from tasks.search.report import race_summary, search_curve
from tasks.search.result import SearchResult
from tasks.stats.paired import paired_difference
from tasks.stores.artefact import Store
from tasks.weights.folder import model_artefact
from tasks.weights.manifest import Manifest, matching_notices, read_manifest
from tasks.weights.recipe import Recipe

__all__ = ["verdict"]


@stage("verdict {family.name} α={recipe.alpha:g}")
def verdict(
    family: Family,
    recipe: Recipe,
    judged: tuple[Judgments, ...],
    curve: tuple[Judgments, ...],
    store: str,
    search: SearchResult | None = None,
    margins: dict[str, float] | None = None,
) -> str:
    """Writes the family's report into the store and gives its uri.

    judged  one for each arm that was run and each benchmark; two of a benchmark make a verdict
    curve   + ExPO at several α against the original, on held-out instructions
    margins of those benchmarks that are guards: the points that may be lost
    search  what found α; where a judge scored, its race is the curve if there is no other
    """
    rows = side_by_side(judged)
    content = model_artefact(Store(store), recipe).manifest()
    manifest = read_manifest(content) if content is not None else None
    report = FamilyReport(
        family=family.name,
        alpha=recipe.alpha,
        verdicts=verdicts(family, recipe, judged, margins or {}),
        alpha_curve=tuple(_point(judgments) for judgments in curve) or search_curve(search),
        race=race_summary(search) if search else None,
        norms=_norms(manifest),
        costs=_costs(judged),
        answers=rows.answers,
        dialogues=rows.dialogues,
        noise=noise_bands([judgments for judgments in judged if judgments.benchmark not in (margins or {})]),
        published_costs=_published_costs(family),
        notices=matching_notices(manifest) if manifest else (),
        settings=_settings(recipe, judged),
    )
    name = fingerprint(report)
    artefact = Store(store).artefact("verdicts", name[:16])
    artefact.write(FAMILY_REPORT, report.model_dump_json().encode())
    artefact.seal(json.dumps({"family": family.name, "fingerprint": name}).encode())
    return artefact.uri


def _point(judgments: Judgments) -> AlphaPoint:
    """A point of the α curve: 50% is a draw with the original."""
    scores = find_benchmark(judgments.benchmark).item_scores(judgments.path()).values()
    wins = [score for score in scores if score is not None]
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


def _published_costs(family: Family) -> tuple[PublishedCost, ...]:
    return tuple(
        PublishedCost(
            setting=COST_SETTINGS[task],
            score=(figures[0], figures[1]),
            standard_error=figures[2] if len(figures) == 3 else None,
        )
        for task, figures in family.published_costs.items()
    )


def _norms(manifest: Manifest | None) -> tuple[TensorNorm, ...]:
    return tuple(
        TensorNorm(name=tensor.name, aligned=tensor.norm, delta=tensor.update_norm)
        for tensor in (manifest.statistics if manifest else ())
        if isfinite(tensor.norm) and isfinite(tensor.update_norm)
    )


def _costs(judged: Sequence[Judgments]) -> tuple[StageCost, ...]:
    costs: list[StageCost] = []
    for judgments in judged:
        generation = judgments.generation
        what = f"{measure_of(judgments.benchmark).title}, {generation.arm.label}"
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


def _settings(recipe: Recipe, judged: Sequence[Judgments]) -> dict[str, str]:
    """What the reader needs to judge the figures, and to make them again."""
    settings = {
        "aligned": f"{recipe.aligned.uri} at {recipe.aligned.commit}",
        "SFT": f"{recipe.sft.uri} at {recipe.sft.commit}",
        "α": f"{recipe.alpha:g}",
        "recipe": recipe.fingerprint,
    }
    for name, asked in by_benchmark(judged).items():
        judgments = [*asked.original, *asked.expo][0]
        generation, judge = judgments.generation, judgments.judge
        benchmark = find_benchmark(name)
        title = benchmark.measure.title
        settings["engine"] = generation.summary.engine
        settings["chat template"] = f"sha256 {generation.summary.chat_template_sha256}"
        if not judge.is_rule or "judge" not in settings:
            settings["judge"] = f"{judge.model} at {judge.url}"
        settings[f"{title}: sampling"] = generation.settings.sampling.model_dump_json()
        settings[f"{title}: judge's sampling"] = benchmark.judge_sampling(judge)
        settings[f"{title}: judge's fingerprint"] = judge_fingerprint(judge, name)
        settings[f"{title}: {benchmark.reference}"] = f"sha256 {judgments.reference}"
    return settings
