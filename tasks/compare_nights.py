"""Stage compare nights: compares a night's figures with the last earlier ones."""

from tasks.comparison.nights import Change, changes_of
from tasks.core.errors import RetryableError
from tasks.reports.history import history
from tasks.reports.run_report import RunReport
from tasks.reports.stored import stored_reports
from tasks.runtime.events import DROP, MISSING, emit
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stats.formatting import format_distinct
from tasks.stores.artefact import Store

__all__ = ["compare_nights"]


@stage("compare {name}")
def compare_nights(name: str, families: tuple[str, ...], store: str) -> tuple[Change, ...]:
    """Emits an event for each family whose gain or guard dropped since the last run that had it.

    A family without a verdict is an event too.

    Raises:
        RetryableError: the night's report is not there yet.
    """
    reports = stored_reports(Store(store))
    tonight = max((run for run in reports if run.startswith(name)), default=None)
    if tonight is None:
        raise RetryableError(f"{store}/reports/{name}: no report of this night")
    report = RunReport.model_validate_json(reports[tonight])
    for family in sorted(set(families) - {verdict.family for verdict in report.verdicts}):
        why = next(
            (failure.reason for failure in report.failures if failure.family == family), "it was not judged"
        )
        emit(MISSING, family, f"{family}: no verdict tonight: {why}")
    changes = changes_of(history(reports).series, tonight)
    for change in changes:
        if change.dropped:
            emit(DROP, change.family, _drop(change))
    run_logger().info(f"{len(changes)} verdicts compared with earlier runs")
    return changes


def _drop(change: Change) -> str:
    where = f"{change.family} on {change.benchmark}"
    if change.new_cost:
        return f"{where}: the guard is at a cost, which it was not in {change.earlier}"
    lower, noise = format_distinct(change.change, change.noise)
    what = "what + ExPO adds to the guard" if change.guard else "the gain"
    return f"{where}: {what} is {lower} lower than in {change.earlier}; noise explains {noise}"
