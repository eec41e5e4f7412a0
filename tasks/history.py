"""Stages of the night: figures held against earlier ones, the judge against itself, old reports removed."""

import json
import math
from collections.abc import Iterator, Sequence

from tasks.anchors import Anchors
from tasks.benchmarks.anchors import compared
from tasks.errors import RetryableError
from tasks.instructions import ALPACA_EVAL, MT_BENCH
from tasks.notices import DRIFT, DROP, MISSING, tell
from tasks.progress import run_logger
from tasks.report import REPORT
from tasks.reports.agreement import agreement_sentence
from tasks.reports.run_report import RunReport
from tasks.reports.seeds import NoiseBand
from tasks.reports.verdict import Verdict
from tasks.stage import stage
from tasks.stores.artefact import MANIFEST, Store
from tasks.values import Value

__all__ = ["NIGHT", "Change", "compare_nights", "judge_drift", "keep_reports"]

NIGHT = "nightly-"  # which reports are a night's


class Change(Value):
    """A family's gain (+ ExPO minus original) tonight against the last night that had one.

    change  tonight's gain minus the earlier, in the unit of the score
    noise   what chance explains of it at 95%. With an A/A run tonight: √2 times its half width, for
            both arms were answered and judged anew. Without: from the intervals of the two gains,
            which is wider, because they allow for other instructions too.
    """

    family: str
    benchmark: str
    earlier: str
    change: float
    noise: float

    @property
    def dropped(self) -> bool:
        """Whether the gain is lower by more than noise explains."""
        return self.change < -self.noise


@stage("compare {name}")
def compare_nights(name: str, families: tuple[str, ...], store: str) -> tuple[Change, ...]:
    """Tells of each family whose gain dropped since the last night, and of each that has no verdict.

    Raises:
        RetryableError: the night's report is not there yet.
    """
    history = _history(store)
    tonight = next((report for report in history if report.name.startswith(name)), None)
    if tonight is None:
        raise RetryableError(f"{store}/reports/{name}: no report of this night")
    earlier = [report for report in history if report.created < tonight.created]
    for family in sorted(set(families) - {verdict.family for verdict in tonight.verdicts}):
        why = next((one.reason for one in tonight.failures if one.family == family), "it was not judged")
        tell(MISSING, family, f"{family}: no verdict tonight: {why}")
    found = [
        _change(verdict, family.noise, earlier) for family in tonight.families for verdict in family.verdicts
    ]
    changes = tuple(change for change in found if change)
    for change in changes:
        if change.dropped:
            tell(
                DROP,
                change.family,
                f"{change.family} on {change.benchmark}: the gain is {-change.change:.2f} lower than in "
                f"{change.earlier}; noise explains {change.noise:.2f}",
            )
    run_logger().info(f"{len(changes)} verdicts compared with earlier nights")
    return changes


@stage("drift of {now.judge.model}")
def judge_drift(now: Anchors, store: str) -> None:
    """Tells when the judge says something else of the anchors than it did the last time it was measured."""
    held = [
        Anchors.model_validate_json(content)
        for name in Store(store).names("anchors")
        if (content := Store(store).artefact("anchors", name).manifest())
    ]
    like = [one for one in held if (one.source, one.judge) == (now.source, now.judge)]
    before = max(
        (one for one in like if one.occasion < now.occasion), key=lambda one: one.occasion, default=None
    )
    if before is None:
        return
    agreement = compared(before.annotations(), now.annotations())
    if agreement.drifted:
        since = before.occasion or "it was first measured"
        tell(DRIFT, now.judge.model, f"the judge has drifted since {since}: {agreement_sentence(agreement)}")


@stage("keep {keep} reports")
def keep_reports(keep: int, store: str) -> int:
    """Removes the reports of nights beyond the latest `keep`; gives how many. Other runs' reports stay.

    A report holds all its figures and answers, so nothing that is kept refers to one that goes.
    Models, answers and judgments are left: tonight's may be theirs.
    """
    nights = [one for one in _history(store) if one.name.startswith(NIGHT)]
    old = nights[keep:]
    for report in old:
        artefact = Store(store).artefact("reports", report.name)
        for file in (MANIFEST, *artefact.names()):  # without its manifest it does not exist
            artefact.remove(file)
    if old:
        run_logger().info(f"removed {len(old)} reports of older nights")
    return len(old)


def _history(store: str) -> list[RunReport]:
    """All reports that can be read, the latest first; those of other versions may not be."""
    return sorted(_reports(store), key=lambda report: report.created, reverse=True)


def _reports(store: str) -> Iterator[RunReport]:
    for name in Store(store).names("reports"):
        content = Store(store).artefact("reports", name).read(REPORT)
        try:
            yield RunReport.model_validate(json.loads(content or b""))
        except ValueError as error:
            run_logger().info(f"report {name} of another version is left out: {error}")


def _change(now: Verdict, bands: Sequence[NoiseBand], earlier: Sequence[RunReport]) -> Change | None:
    """Against the latest verdict of the same family, α, benchmark and judge; None if there is none."""
    like = _kind(now)
    found = ((one, report) for report in earlier for one in report.verdicts if _kind(one) == like)
    before, report = next(found, (None, None))
    if before is None or report is None:
        return None
    return Change(
        family=now.family,
        benchmark=now.benchmark,
        earlier=report.name,
        change=now.difference.mean - before.difference.mean,
        noise=_noise(now, before, bands),
    )


def _kind(verdict: Verdict) -> tuple[str, float, str, str]:
    return verdict.family, verdict.alpha, verdict.benchmark, verdict.judge


def _noise(now: Verdict, before: Verdict, bands: Sequence[NoiseBand]) -> float:
    benchmark = MT_BENCH if now.benchmark == MT_BENCH else ALPACA_EVAL
    for band in bands:
        if band.benchmark == benchmark:
            return math.sqrt(2) * (band.upper - band.lower) / 2
    return math.hypot(*((one.difference.upper - one.difference.lower) / 2 for one in (now, before)))
