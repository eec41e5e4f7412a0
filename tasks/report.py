"""Stage report: the run as a page, as Markdown and as JSON, in the store and in the Prefect UI."""

from datetime import UTC, datetime
from importlib.metadata import version
from urllib.parse import quote

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.benchmarks.registry import measure_of
from tasks.core.family_result import FamilyResult
from tasks.reports.guards import guards_in_short
from tasks.reports.markdown import render_summary
from tasks.reports.run_report import Failure, RunReport, corrected
from tasks.reports.stored import PAGE, read_family_report, write_report
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stats.agreement import Agreement
from tasks.stats.decision import Verdict
from tasks.stats.formatting import change, effect, interval, signed
from tasks.stores.artefact import Artefact, Store

__all__ = ["report"]


@stage("report {name}")
def report(
    name: str,
    results: tuple[FamilyResult, ...],
    store: str,
    anchors: tuple[Agreement, ...] = (),
) -> str:
    """Joins the families' reports, corrects for their number, and writes the run's; gives its uri."""
    reports = tuple(result.report for result in results if result.report and not result.reason)
    run = RunReport(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=version("expo-flows"),
        families=corrected(tuple(read_family_report(uri) for uri in reports)),
        failures=tuple(
            Failure(family=result.family, stage=result.stage, reason=result.reason)
            for result in results
            if result.reason
        ),
        anchors=anchors,
    )
    artefact = Store(store).artefact("reports", name)
    write_report(run, artefact)
    _show(run, artefact)
    _show_results(results)
    run_logger().info(f"report: {artefact.uri}/{PAGE}")
    return artefact.uri


def _show(run: RunReport, artefact: Artefact) -> None:
    """The run in Prefect's UI: a link to the page, the verdicts in short, and as a table."""
    page = _url(artefact)
    counts = f"{run.name}: verdicts {len(run.verdicts)}, failed families {len(run.failures)}"
    create_link_artifact(page, key="expo-page", description=counts)
    create_markdown_artifact(render_summary(run, page), key="expo-report", description=f"{counts}; {page}")
    create_table_artifact([_row(verdict) for verdict in run.verdicts], key="expo-verdicts", description=page)


def _show_results(results: tuple[FamilyResult, ...]) -> None:
    """How each family ended: done, cached, or failed at which stage and why."""
    rows = [
        {"family": result.family, "outcome": result.outcome, "stage": result.stage, "why": result.reason}
        for result in results
    ]
    done = sum(not result.reason for result in results)
    create_table_artifact(rows, key="expo-families", description=f"{done} of {len(rows)} families done")


def _url(artefact: Artefact) -> str:
    """Where the page is: file:// on this machine, else s3://; without spaces, as Markdown needs it."""
    if artefact.local:
        return (artefact.local / PAGE).as_uri()
    return quote(f"{artefact.uri}/{PAGE}", safe="/:")


def _row(verdict: Verdict) -> dict[str, str]:
    """A row of the table artifact."""
    difference = verdict.difference
    return {
        "family": verdict.family,
        "benchmark": measure_of(verdict.benchmark).title,
        "α": f"{verdict.alpha:g}",
        "verdict": verdict.outcome,
        "score": change(verdict.original.score, verdict.expo.score, 2),
        "gain": signed(difference.mean),
        "95% interval": interval(difference.lower, difference.upper),
        "smallest effect": effect(verdict.detectable),
        "judge": verdict.judge,
        "guards": guards_in_short(verdict),
    }
