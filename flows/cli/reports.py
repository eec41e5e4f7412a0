"""A run's report, as the `expo` command prints it."""

from typing import Literal

from rich.console import Console

from tasks.reports.exports import bibtex, csv_table, latex_table
from tasks.reports.stored import PAGE, find_report
from tasks.reports.text import terminal_table
from tasks.stores.artefact import Store

__all__ = ["Form", "print_report", "show_report"]

Form = Literal["json", "csv", "latex", "cite"]


def show_report(store: str, name: str | None) -> None:
    """Prints a run's verdict table, its α curve and where the page lies; None: the latest run's.

    Raises:
        InputError: the store has no such report.
    """
    artefact, run = find_report(Store(store), name)
    print(terminal_table(run, color=Console().is_terminal))
    print(f"report: {artefact.uri}/{PAGE}")


def print_report(store: str, name: str | None, form: Form) -> None:
    """Prints a run's report in a form for other programs; None: the latest run's.

    Raises:
        InputError: the store has no such report.
    """
    _, run = find_report(Store(store), name)
    if form == "json":
        print(run.model_dump_json(indent=1))
    else:
        print({"csv": csv_table, "latex": latex_table, "cite": bibtex}[form](run), end="")
