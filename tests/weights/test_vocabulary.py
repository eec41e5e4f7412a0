"""Rows of two vocabularies: each aligned row meets the SFT row of the same token."""

import json
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.vocabulary import Tokenizers
from tests.weights.checkpoints import read_tensors, recipe, write_checkpoint

EMBEDDING = "model.embed_tokens.weight"
TOKENS = st.lists(st.sampled_from("abcdefghij"), min_size=1, unique=True)


def checkpoint(folder: Path, tokens: list[str], padding: int) -> FolderSource:
    """An embedding with a row for each token and some without."""
    rows = torch.randn(len(tokens) + padding, 3).bfloat16()
    write_checkpoint(folder, {EMBEDDING: rows, "layers.0.weight": torch.randn(3)})
    vocabulary = {token: row for row, token in enumerate(tokens)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    return FolderSource(folder)


@pytest.mark.slow
@settings(max_examples=60)
@given(aligned_tokens=TOKENS, sft_tokens=TOKENS, padding=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_rows_follow_their_tokens(
    aligned_tokens: list[str], sft_tokens: list[str], padding: tuple[int, int]
) -> None:
    """Larger and smaller vocabularies, moved and missing tokens, rows without a token."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        aligned = checkpoint(folder / "aligned", aligned_tokens, padding[0])
        sft = checkpoint(folder / "sft", sft_tokens, padding[1])
        plan = make_plan(recipe(aligned, sft, vocabulary="common-rows"), aligned, sft)
        extrapolate(plan, aligned, sft, Artefact(str(folder / "out")))
        new, old, found = (read_tensors(folder / side)[EMBEDDING] for side in ("aligned", "sft", "out"))
    for row in range(len(new)):
        token = aligned_tokens[row] if row < len(aligned_tokens) else None
        expected = new[row]
        if token in sft_tokens:
            expected = torch.lerp(new[row], old[sft_tokens.index(token)], -0.3)
        assert torch.equal(found[row], expected), row


@given(rows=st.integers(1, 50), sft_rows=st.integers(1, 50))
def test_rows_by_position_are_two_runs(rows: int, sft_rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        source = write_checkpoint(Path(name), {})
        runs = Tokenizers(source, source).common_rows(rows, sft_rows, "common-rows")
    assert sum(run.rows for run in runs) == rows
    assert runs[0].sft_first == 0 and runs[0].rows == min(rows, sft_rows)
    assert [run.sft_first for run in runs[1:]] == [None] * (rows > sft_rows)
