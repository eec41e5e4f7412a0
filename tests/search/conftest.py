"""Fixtures: a place to search in."""

from pathlib import Path

import pytest

from tests.search.places import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)
