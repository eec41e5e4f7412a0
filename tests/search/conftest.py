"""Fixtures: a place to search in."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.search.places import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Place":
    from tests.search.places import Place  # a flow, which brings Prefect

    return Place(tmp_path, monkeypatch)
