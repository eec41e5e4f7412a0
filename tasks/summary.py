"""How a run ended, family by family, as a table in the Prefect UI."""

from collections.abc import Collection, Mapping, Sequence

from prefect.artifacts import create_table_artifact

from tasks.reports.run_report import Failure

__all__ = ["summary"]


def summary(reports: Mapping[str, str | None], failures: Sequence[Failure], before: Collection[str]) -> None:
    """Writes the table artifact `expo-families`: done, cached, or failed at which stage and why.

    reports   uri of the report of each family that was done; None where nothing was judged
    before    the names of the store's verdicts when the run began: one that was there cost nothing
    """
    rows = [
        {"family": family, "outcome": _outcome(uri, before), "stage": "", "why": ""}
        for family, uri in reports.items()
    ]
    rows += [
        {"family": one.family, "outcome": "failed", "stage": one.stage, "why": one.reason} for one in failures
    ]
    done = f"{len(reports)} of {len(rows)} families done"
    create_table_artifact(rows, key="expo-families", description=done)


def _outcome(uri: str | None, before: Collection[str]) -> str:
    return "cached" if uri and uri.rpartition("/")[2] in before else "done"
