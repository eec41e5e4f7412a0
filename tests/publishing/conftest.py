"""The reports' families with verdicts, for the cards of models, and the command in this process."""

from tests.flows.cli.conftest import expo
from tests.reports.conftest import make_family

__all__ = ["expo", "make_family"]
