"""A flow that asks before it spends, deployed by the drill of approvals: it writes down what it does."""

import os
from pathlib import Path

from prefect import flow

from tasks.runtime.approval import require_approval

__all__ = ["spend"]


@flow(name="spend")
def spend(ledger: str, estimates: list[str]) -> None:
    """Asks for each estimate twice, then spends; writes a line for each process and for the spending."""
    _write(ledger, f"begun {os.getpid()}")
    for estimate in (*estimates, *estimates):
        require_approval(estimate)
    _write(ledger, "spent")


def _write(ledger: str, line: str) -> None:
    with Path(ledger).open("a") as file:
        file.write(f"{line}\n")
