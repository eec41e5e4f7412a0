"""Fixtures: a demo family whose training is cut short, made once for the whole session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.demo.checkpoints import DemoFamily, prepare
from tasks.demo.student import Shape
from tasks.demo.training import Training

SHORT = Training(
    shape=Shape(hidden=32, layers=1),
    evaluation_instructions=6,
    alpha_instructions=4,
    sft_steps=6,
    sft_batch=8,
    dpo_steps=2,
    dpo_batch=4,
    samples=2,
    max_tokens=24,
    shard_bytes=40_000,
)


@pytest.fixture(scope="session")
def short() -> Training:
    return SHORT


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoFamily]:
    """The family of a short training, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield prepare(training=SHORT)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for this process and those that it starts."""
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path))
    assert os.environ["EXPO_CACHE"] == str(tmp_path)
    return tmp_path
