"""The reports of a store, as the `expo` command finds and prints them."""

from rich.console import Console

from tasks.core.errors import InputError
from tasks.reports.history import History, history
from tasks.reports.run_report import RunReport
from tasks.reports.text import terminal_table
from tasks.stats.decision import Verdict
from tasks.stores.artefact import Artefact, Store

__all__ = ["find_report", "read_history", "show_report", "verdicts_of"]

REPORT = "report.json"


def show_report(store: str, name: str | None) -> None:
    """Prints a run's verdict table, its α curve and where the page lies; None: the latest run's.

    Raises:
        InputError: the store has no such report.
    """
    artefact, run = find_report(Store(store), name)
    print(terminal_table(run, colour=Console().is_terminal))
    print(f"report: {artefact.uri}/report.html")


def find_report(store: Store, name: str | None) -> tuple[Artefact, RunReport]:
    """A run's report by name, or the one that was created last."""
    reports = []
    for one in [name] if name else store.names("reports"):
        artefact = store.artefact("reports", one)
        if content := artefact.read(REPORT):
            reports.append((artefact, RunReport.model_validate_json(content)))
    if not reports:
        raise InputError(f"{store.uri}: no report {name or 'of any run'} in this store")
    return max(reports, key=lambda report: report[1].created)


def read_history(store: Store) -> History:
    """The history of a store's runs.

    Raises:
        InputError: the store has no report.
    """
    found = {name: store.artefact("reports", name).read(REPORT) for name in store.names("reports")}
    if not found:
        raise InputError(f"{store.uri}: no report of any run in this store")
    return history({name: content or b"" for name, content in found.items()})


def verdicts_of(store: Store, fingerprint: str) -> tuple[Verdict, ...]:
    """The verdicts on a model in the latest of a store's reports that has some; empty without one."""
    reports = []
    for name in store.names("reports"):
        if content := store.artefact("reports", name).read(REPORT):
            reports.append(RunReport.model_validate_json(content))
    for run in sorted(reports, key=lambda run: run.created, reverse=True):
        for family in run.families:
            if family.settings.get("recipe") == fingerprint and family.verdicts:
                return family.verdicts
    return ()
