"""A verdict in words, alike in the page, the Markdown, the terminal and the model card."""

from tasks.benchmarks.registry import measure_of
from tasks.stats.decision import Verdict
from tasks.stats.formatting import change, counts, effect, interval, share, signed
from tasks.stats.seeds import NoiseBand

__all__ = ["judging", "length_controlled", "noise_sentence", "reason", "sentence"]


def sentence(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    found, measure = verdict.difference, measure_of(verdict.benchmark)
    figures = (
        f"{measure.score} {change(verdict.original.score, verdict.expo.score, measure.digits)}, "
        f"{signed(found.mean)} {verdict.unit} (95% interval {interval(found.lower, found.upper)})"
    )
    if verdict.outcome == "no evidence":
        return f"No evidence of a difference: {figures}."
    return f"+ ExPO is {verdict.outcome}: {figures}."


def reason(verdict: Verdict) -> str:
    """The rule behind the outcome, a warning, and the smallest effect that the run could have found."""
    rule = verdict.rule[:1].upper() + verdict.rule[1:]
    warning = f" Beware: {verdict.warning}." if verdict.warning else ""
    others = "" if verdict.compared == 1 else f", among {verdict.tests}"
    return (
        f"{rule}.{warning} The smallest effect that this run could have found (with 80% power{others}): "
        f"{effect(verdict.detectable, verdict.unit)}."
    )


def length_controlled(verdict: Verdict) -> str:
    """The gain under length control in words, or why there is none; "" for a benchmark without it."""
    before, after = verdict.original.lc_win_rate, verdict.expo.lc_win_rate
    controlled = measure_of(verdict.benchmark).controlled.capitalize()
    if before is None or after is None or verdict.lc_gain is None:
        return f"{controlled} {verdict.lc_note}." if verdict.lc_note else ""
    ends = verdict.lc_interval
    sure = f"95% interval {interval(*ends)}" if ends else "without an interval of its own"
    return (
        f"{controlled} {change(before, after)}, {signed(verdict.lc_gain)} "
        f"{verdict.unit} ({sure}); the verdict does not rest on it."
    )


def judging(verdict: Verdict) -> str:
    """How sure the judge was of its form, and what was not judged or answered, by cause; "" for neither."""
    before, after = verdict.original, verdict.expo
    least = measure_of(verdict.benchmark).min_mass
    parts = []
    if before.median_mass is not None and after.median_mass is not None and least is not None:
        masses = f"{share(before.median_mass)} → {share(after.median_mass)}"
        parts.append(
            f"The verdict tokens had {masses} of the likeliest tokens' probability in the median; with less "
            f"than {least:.0%} an item counts as not judged."
        )
    if before.not_judged or after.not_judged:
        parts.append(f"Not judged: {counts(before.not_judged)} → {counts(after.not_judged)}.")
    if before.not_answered or after.not_answered:
        failed = f"{counts(before.not_answered)} → {counts(after.not_answered)}"
        parts.append(f"Not answered by the endpoint, and counted as empty: {failed}.")
    return " ".join(parts)


def noise_sentence(family: str, band: NoiseBand) -> str:
    """A noise band in words."""
    return (
        f"{family}, the original against itself under another seed, {measure_of(band.benchmark).title}: "
        f"{signed(band.difference)}, 95% {interval(band.lower, band.upper)}, over {band.n} items. "
        "A gain that this interval covers may be noise."
    )
