"""A verdict in words, alike in the page, the Markdown, the terminal and the model card."""

from tasks.benchmarks.registry import measure_of
from tasks.stats.decision import Verdict
from tasks.stats.formatting import change, interval, magnitude, signed
from tasks.stats.seeds import NoiseBand

__all__ = ["length_controlled", "noise_sentence", "reason", "sentence"]


def sentence(verdict: Verdict) -> str:
    """The verdict in words, for a reader who reads nothing else."""
    found, measure = verdict.difference, measure_of(verdict.benchmark)
    figures = (
        f"{measure.score} {change(verdict.original.score, verdict.expo.score, measure.digits)}, "
        f"{signed(found.mean)} {verdict.unit} (95% interval {interval(found.lower, found.upper)})"
    )
    if verdict.outcome == "no evidence":
        return f"No evidence of a difference: {figures}."
    return f"+ ExPO is {verdict.outcome}: {figures}."


def reason(verdict: Verdict) -> str:
    """What made the outcome, and what this run could have missed."""
    rule = verdict.rule[:1].upper() + verdict.rule[1:]
    others = "" if verdict.compared == 1 else f", among {verdict.compared} families"
    return (
        f"{rule}. The smallest effect that this run could have found (with 80% power{others}): "
        f"{magnitude(verdict.detectable)} {verdict.unit}."
    )


def length_controlled(verdict: Verdict) -> str:
    """The gain under length control in words, or why there is none; "" for a benchmark without it."""
    before, after = verdict.original.lc_win_rate, verdict.expo.lc_win_rate
    if before is None or after is None or verdict.lc_gain is None:
        return f"Length-controlled win rate {verdict.lc_note}." if verdict.lc_note else ""
    ends = verdict.lc_interval
    sure = f"95% interval {interval(*ends)}" if ends else "without an interval of its own"
    return (
        f"Length-controlled win rate {change(before, after)}, {signed(verdict.lc_gain)} "
        f"{verdict.unit} ({sure}); the verdict does not rest on it."
    )


def noise_sentence(family: str, band: NoiseBand) -> str:
    """A noise band in words."""
    return (
        f"{family}, the original against itself under another seed, {measure_of(band.benchmark).title}: "
        f"{signed(band.difference)}, 95% {interval(band.lower, band.upper)}, over {band.n} items. "
        "A gain that this interval covers may be noise."
    )
