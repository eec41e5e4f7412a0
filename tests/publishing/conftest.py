"""The reports' families with verdicts, for the cards of models."""

from tests.reports.conftest import make_family

__all__ = ["make_family"]
