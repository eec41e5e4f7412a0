"""Stages of the night: figures held against earlier ones, the judge against itself, old reports removed."""

import math

from tasks.anchors import Anchors
from tasks.benchmarks.anchor_sample import compared
from tasks.core.errors import RetryableError
from tasks.core.values import Value
from tasks.report import REPORT
from tasks.reports.history import HistoryPoint, Series, history
from tasks.reports.run_report import RunReport
from tasks.runtime.events import DRIFT, DROP, MISSING, tell
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stats.agreement import agreement_sentence
from tasks.stats.formatting import format_distinct
from tasks.stores.artefact import MANIFEST, Store

__all__ = ["NIGHT", "Change", "changes_of", "compare_nights", "judge_drift", "keep_reports"]

NIGHT = "nightly-"  # which reports are a night's


class Change(Value):
    """A family's gain (+ ExPO minus original) in a run against the last earlier one that had it.

    change  the gain minus the earlier one, in the unit of the score
    noise   what chance explains of it at 95%. With an A/A run: √2 times the band's half width, for
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
    """Tells of each family whose gain dropped since the last run that had it, and of each without a verdict.

    Raises:
        RetryableError: the night's report is not there yet.
    """
    reports = _reports(store)
    tonight = max((one for one in reports if one.startswith(name)), default=None)
    if tonight is None:
        raise RetryableError(f"{store}/reports/{name}: no report of this night")
    report = RunReport.model_validate_json(reports[tonight])
    for family in sorted(set(families) - {verdict.family for verdict in report.verdicts}):
        why = next((one.reason for one in report.failures if one.family == family), "it was not judged")
        tell(MISSING, family, f"{family}: no verdict tonight: {why}")
    changes = changes_of(history(reports).series, tonight)
    for one in changes:
        if one.dropped:
            lower, noise = format_distinct(one.change, one.noise)
            tell(
                DROP,
                one.family,
                f"{one.family} on {one.benchmark}: the gain is {lower} lower than in {one.earlier}; "
                f"noise explains {noise}",
            )
    run_logger().info(f"{len(changes)} verdicts compared with earlier runs")
    return changes


def changes_of(series: tuple[Series, ...], run: str) -> tuple[Change, ...]:
    """The changes in a run; what was never measured before (same family, α, benchmark, judge) has none."""
    found = []
    for line in series:
        names = [point.run for point in line.points]
        if run in names[1:]:
            before, now = line.points[names.index(run) - 1], line.points[names.index(run)]
            found.append(
                Change(
                    family=line.family,
                    benchmark=line.benchmark,
                    earlier=before.run,
                    change=now.gain - before.gain,
                    noise=_noise(before, now),
                )
            )
    return tuple(found)


@stage("drift of {now.judge.model}")
def judge_drift(now: Anchors, store: str) -> None:
    """Tells when the judge says something else of the anchors than it did the last time it was measured."""
    held = [
        Anchors.model_validate_json(content)
        for name in Store(store).names("anchors")
        if (content := Store(store).artefact("anchors", name).manifest())
    ]
    like = [one for one in held if (one.source, one.judge) == (now.source, now.judge)]
    earlier = [one for one in like if one.occasion < now.occasion]
    if not earlier:
        return
    before = max(earlier, key=lambda one: one.occasion)
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
    nights = sorted(name for name in Store(store).names("reports") if name.startswith(NIGHT))
    for name in nights[:-keep]:
        artefact = Store(store).artefact("reports", name)
        for file in (MANIFEST, *artefact.names()):  # without its manifest it does not exist
            artefact.remove(file)
        run_logger().info(f"removed the report {name}: only the latest {keep} nights' are kept")
    return len(nights[:-keep])


def _reports(store: str) -> dict[str, bytes]:
    held = {
        name: Store(store).artefact("reports", name).read(REPORT) for name in Store(store).names("reports")
    }
    return {name: content for name, content in held.items() if content}


def _noise(before: HistoryPoint, now: HistoryPoint) -> float:
    if now.noise:
        return math.sqrt(2) * (now.noise[1] - now.noise[0]) / 2
    return math.hypot((before.upper - before.lower) / 2, (now.upper - now.lower) / 2)
