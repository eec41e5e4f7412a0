"""Rows of equal number belong to equal tokens, or are not paired in silence."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.core.errors import MismatchError
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.tokens import row_tokens
from tests.weights.checkpoints import read_tensors, recipe, write_checkpoint

EMBEDDING = "model.embed_tokens.weight"
TOKENS = ["a", "b", "<|im_start|>", "<pad>"]
MOVED = ["a", "b", "<pad>", "<|im_start|>"]


def fast(folder: Path, tokens: list[str]) -> None:
    content = {"model": {"vocab": {token: row for row, token in enumerate(tokens[:2])}}}
    added = [{"id": row, "content": token} for row, token in enumerate(tokens) if row > 1]
    (folder / "tokenizer.json").write_text(json.dumps(content | {"added_tokens": added}))


def slow(folder: Path, tokens: list[str]) -> None:
    (folder / "vocab.json").write_text(json.dumps({token: row for row, token in enumerate(tokens[:2])}))
    (folder / "added_tokens.json").write_text(json.dumps({t: r for r, t in enumerate(tokens) if r > 1}))


def lines(folder: Path, tokens: list[str]) -> None:
    (folder / "vocab.txt").write_text("\n".join(tokens))


def decoder(folder: Path, tokens: list[str]) -> None:
    (folder / "vocab.txt").write_text("\n".join(tokens[:2]))
    added = {str(row): {"content": token} for row, token in enumerate(tokens) if row > 1}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))


WRITERS = [fast, slow, lines, decoder]


def sides(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(3)
    new, old = ({EMBEDDING: torch.randn(6, 3), "w": torch.randn(3)} for _ in range(2))
    write_checkpoint(folder / "aligned", new)
    write_checkpoint(folder / "sft", old)
    return new, old


def opened(folder: Path) -> tuple[FolderSource, FolderSource]:
    return FolderSource(folder / "aligned"), FolderSource(folder / "sft")


@pytest.mark.parametrize("write", WRITERS)
def test_every_form_of_a_vocabulary_is_read(tmp_path: Path, write: object) -> None:
    assert callable(write)
    write(tmp_path, TOKENS)
    assert row_tokens(FolderSource(tmp_path)) == dict(enumerate(TOKENS))


def test_sentence_piece_model_is_read(tmp_path: Path) -> None:
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    trainer.Train(input=str(text), model_prefix=str(tmp_path / "tokenizer"), vocab_size=30, minloglevel=2)
    (tmp_path / "added_tokens.json").write_text('{"<|im_start|>": 30}')
    tokens = row_tokens(FolderSource(tmp_path))
    assert (tokens[0], tokens[1], tokens[30]) == ("<unk>", "<s>", "<|im_start|>")


@pytest.mark.parametrize("write", WRITERS)
def test_rows_of_other_tokens_are_refused(tmp_path: Path, write: object) -> None:
    """Equal sizes prove nothing: a pad token was extrapolated against a start token."""
    assert callable(write)
    sides(tmp_path)
    write(tmp_path / "aligned", TOKENS)
    write(tmp_path / "sft", MOVED)
    aligned, sft = opened(tmp_path)
    with pytest.raises(MismatchError) as caught:
        make_plan(recipe(aligned, sft), aligned, sft)
    message = str(caught.value)
    assert "row 2 is '<|im_start|>' on the aligned side and '<pad>' on the SFT side" in message
    assert "--vocabulary common-rows" in message and "--vocabulary by-position" in message


@pytest.mark.parametrize(
    ("policy", "rows", "notice"),
    [
        ("common-rows", [0, 1, 3, 2], "vocabulary rows are paired by their token strings"),
        ("by-position", [0, 1, 2, 3], "vocabulary rows are paired by position"),
    ],
)
def test_the_policies(tmp_path: Path, policy: str, rows: list[int], notice: str) -> None:
    new, old = sides(tmp_path)
    fast(tmp_path / "aligned", TOKENS)
    fast(tmp_path / "sft", MOVED)
    aligned, sft = opened(tmp_path)
    plan = make_plan(recipe(aligned, sft, vocabulary=policy), aligned, sft)
    assert plan.notices == (notice,)
    manifest = extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")))
    assert manifest.notices == (notice,)
    found = read_tensors(tmp_path / "out")[EMBEDDING]
    for row, sft_row in enumerate(rows):
        expected = torch.lerp(new[EMBEDDING][row], old[EMBEDDING][sft_row], -0.3)
        assert torch.equal(found[row], expected), row


def test_tokens_added_in_rows_without_one_are_no_difference(tmp_path: Path) -> None:
    sides(tmp_path)
    fast(tmp_path / "aligned", [*TOKENS, "<|im_end|>"])
    fast(tmp_path / "sft", TOKENS)
    aligned, sft = opened(tmp_path)
    assert make_plan(recipe(aligned, sft), aligned, sft).notices == ()


def test_a_tokenizer_of_one_side_alone_is_said(tmp_path: Path) -> None:
    sides(tmp_path)
    fast(tmp_path / "aligned", TOKENS)
    aligned, sft = opened(tmp_path)
    (notice,) = make_plan(recipe(aligned, sft), aligned, sft).notices
    assert notice == "the SFT side has no tokenizer that can be read: rows are paired by position"


def test_rows_by_position_without_tokenizers_are_said(tmp_path: Path) -> None:
    sides(tmp_path)
    aligned, sft = opened(tmp_path)
    plan = make_plan(recipe(aligned, sft, vocabulary="common-rows"), aligned, sft)
    assert plan.notices == ("vocabulary rows are paired by position",)
