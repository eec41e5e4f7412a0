"""Reports to render: one family as the demo has it, and many with everything that can differ."""

from collections.abc import Callable

import numpy as np
import pytest

from tasks.benchmarks.registry import find_benchmark
from tasks.benchmarks.rows import AnswerRow
from tasks.core.families import registry
from tasks.reports.html import render_html
from tasks.reports.norms import TensorNorm
from tasks.reports.run_report import (
    AlphaPoint,
    Failure,
    FamilyReport,
    RunReport,
    StageCost,
    corrected,
)
from tasks.stats.decision import decide
from tasks.stats.metrics import ArmMetrics, ArmResult

FamilyMaker = Callable[..., FamilyReport]


@pytest.fixture(scope="session")
def make_family() -> FamilyMaker:
    """Makes a family's report: `gain` in points, the rest as a run would have it."""
    return _family


@pytest.fixture(scope="session")
def run_report(make_family: FamilyMaker) -> RunReport:
    """A run over one family, with an α curve and without a length-controlled win rate."""
    return _run("one", make_family("demo", gain=20.0))


@pytest.fixture(scope="session")
def many(make_family: FamilyMaker) -> RunReport:
    """Thirteen families of the registry, better and worse and neither, and one that failed."""
    names = [name for name in registry() if name != "demo"]
    families = [
        make_family(name, gain=gain, judge="gpt-4.1", seed=seed)
        for seed, (name, gain) in enumerate(zip(names[:-1], [9, 0, -9] * 5, strict=False))
    ]
    reason = "the engine ran out of memory: <80 GB> asked for; use a larger tensor_parallel_size"
    return _run("many", *families, failures=(Failure(family=names[-1], stage="generate", reason=reason),))


@pytest.fixture(scope="session")
def many_page(many: RunReport) -> str:
    """The page of `many`: a few seconds of plotting."""
    return render_html(many)


def _run(name: str, *families: FamilyReport, failures: tuple[Failure, ...] = ()) -> RunReport:
    return RunReport(
        name=name,
        created="2026-11-23T23:41:07+00:00",
        code_version="0.1.0",
        families=corrected(families),
        failures=failures,
    )


def _family(
    name: str, gain: float = 5.0, judge: str = "demo:rule", seed: int = 0, answers: tuple[AnswerRow, ...] = ()
) -> FamilyReport:
    rng = np.random.default_rng(seed)
    before = rng.uniform(20, 60, size=120)
    after = before + gain + rng.normal(0, 10, size=120)
    entry = registry()[name]
    figures = [
        ArmMetrics(score=x.mean(), standard_error=1.5, mean_length=900.0 + x.mean()) for x in (before, after)
    ]
    verdict = decide(
        name,
        entry.alpha,
        "alpaca_eval",
        judge,
        ArmResult(metrics=figures[0], scores=dict(enumerate(before))),
        ArmResult(
            metrics=figures[1],
            scores=dict(enumerate(after)),
            lc_note="not available, because its data file is not here",
        ),
        unit="percentage points",
        published=find_benchmark("alpaca_eval").published(entry.published) if entry.published else None,
    )
    return FamilyReport(
        family=name,
        alpha=entry.alpha,
        verdicts=(verdict,),
        alpha_curve=_curve(),
        norms=_norms(),
        costs=(
            StageCost(stage="generate AlpacaEval 2.0, expo α=0.5", seconds=75.0),
            StageCost(stage="judge AlpacaEval 2.0, expo α=0.5", seconds=7500.0, requests=1610, dollars=4.2),
        ),
        answers=answers or _answers(),
        notices=(
            "config.json: rope_theta is 1.0 on the aligned side, 2.0 on the SFT side, which was allowed",
        ),
        settings={"sampling": "temperature 0.7"},
    )


def _curve() -> tuple[AlphaPoint, ...]:
    wins = {0.0: 50.0, 0.5: 64.0, 1.0: 70.0, 4.0: 6.0}
    return tuple(
        AlphaPoint(alpha=a, win_rate=w, lower=w - 5, upper=w + 5, mean_length=40 + 9 * a, truncated=a / 8)
        for a, w in wins.items()
    )


def _norms() -> tuple[TensorNorm, ...]:
    modules = ("self_attn.q_proj.weight", "mlp.down_proj.weight", "input_layernorm.weight")
    return (
        TensorNorm(name="model.embed_tokens.weight", aligned=30.0, delta=0.1),
        *(
            TensorNorm(name=f"model.layers.{layer}.{module}", aligned=50.0, delta=0.1 + layer / 10)
            for layer in range(4)
            for module in modules
        ),
    )


def _answers() -> tuple[AnswerRow, ...]:
    """Three wins of + ExPO, two of the original, a tie, and one that was not judged."""
    pairs = [(0.0, 1.0), (0.1, 0.6), (0.4, 0.5), (0.9, 0.2), (1.0, 0.0), (0.5, 0.52), (None, 1.0)]
    return tuple(
        AnswerRow(
            instruction=f"instruction {n}",
            original=f"plain {n}",
            expo=f"better {n}",
            reference="reference",
            original_preference=before,
            expo_preference=after,
        )
        for n, (before, after) in enumerate(pairs)
    )
