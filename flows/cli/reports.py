"""A run's report, as the `expo` command prints it."""

from rich.console import Console

from tasks.reports.stored import PAGE, find_report
from tasks.reports.text import terminal_table
from tasks.stores.artefact import Store

__all__ = ["show_report"]


def show_report(store: str, name: str | None) -> None:
    """Prints a run's verdict table, its α curve and where the page lies; None: the latest run's.

    Raises:
        InputError: the store has no such report.
    """
    artefact, run = find_report(Store(store), name)
    print(terminal_table(run, color=Console().is_terminal))
    print(f"report: {artefact.uri}/{PAGE}")
