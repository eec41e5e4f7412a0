"""Stage report: the run as a page, as Markdown and as JSON, in the store and in the Prefect UI."""

from datetime import UTC, datetime
from importlib.metadata import version
from urllib.parse import quote

from prefect.artifacts import create_markdown_artifact

from tasks.core.family_result import FamilyResult
from tasks.reports.markdown import render_summary
from tasks.reports.run_report import Failure, RunReport, corrected
from tasks.reports.stored import PAGE, read_family_report, write_report
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stats.agreement import Agreement
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
        timelines=tuple(result.timeline for result in results if result.timeline),
    )
    artefact = Store(store).artefact("reports", name)
    write_report(run, artefact)
    page = _url(artefact)
    done = sum(not result.reason for result in results)
    create_markdown_artifact(
        render_summary(run, results, page),
        key="expo-report",
        description=f"{name}: {done} of {len(results)} families done; [the page]({page})",
    )
    run_logger().info(f"report: {artefact.uri}/{PAGE}")
    return artefact.uri


def _url(artefact: Artefact) -> str:
    """Where the page is: file:// on this machine, else s3://; without spaces, as Markdown needs it."""
    if artefact.local:
        return (artefact.local / PAGE).as_uri()
    return quote(f"{artefact.uri}/{PAGE}", safe="/:")
