"""Rows of embeddings and heads whose vocabularies differ: which row of the SFT side is whose."""

import json
import re
from collections.abc import Iterable, Iterator

from tasks.core.values import Value
from tasks.stores.source import Source

__all__ = ["HEAD", "INPUT_EMBEDDING", "RowRun", "common_rows", "is_vocabulary"]

INPUT_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|tok_embeddings|wte|embed_in|word_embeddings)\.weight$")
HEAD = re.compile(r"(^|\.)(lm_head\.(weight|bias)|embed_out\.weight)$|^output\.weight$")

TOKENIZER = "tokenizer.json"


class RowRun(Value):
    """Rows [first, first + rows) of the aligned side.

    sft_first  the first of the SFT side's rows, which follow in the same order; None where
               the SFT side has none: the aligned rows are kept as they are
    """

    first: int
    rows: int
    sft_first: int | None


def is_vocabulary(name: str) -> bool:
    """Whether a tensor has a row for each token."""
    return bool(INPUT_EMBEDDING.search(name) or HEAD.search(name))


def common_rows(aligned: Source, sft: Source, rows: int, sft_rows: int) -> tuple[RowRun, ...]:
    """How `rows` of the aligned side correspond to `sft_rows` of the other.

    By token string where both have a tokenizer.json; rows without a token keep the aligned
    weights. Otherwise by position.
    """
    ours, theirs = _tokens(aligned), _tokens(sft)
    if not ours or not theirs:
        return tuple(_runs(row if row < sft_rows else None for row in range(rows)))
    ids = {token: row for row, token in theirs.items() if row < sft_rows}
    return tuple(_runs(ids.get(ours[row]) if row in ours else None for row in range(rows)))


def _runs(sft_rows: Iterable[int | None]) -> Iterator[RowRun]:
    """The corresponding rows as few runs; `sft_rows` gives one for each aligned row."""
    first, sft_first, rows = 0, None, 0
    for row, sft_row in enumerate(sft_rows):
        follows = sft_row is None if sft_first is None else sft_row == sft_first + rows
        if rows and not follows:
            yield RowRun(first=first, rows=rows, sft_first=sft_first)
            rows = 0
        if not rows:
            first, sft_first = row, sft_row
        rows += 1
    if rows:
        yield RowRun(first=first, rows=rows, sft_first=sft_first)


def _tokens(source: Source) -> dict[int, str]:
    """Row → token of a checkpoint's tokenizer; empty where there is none that can be read here."""
    files = source.files()
    if TOKENIZER not in files:
        return {}
    try:
        content = json.loads(source.read(TOKENIZER, 0, files[TOKENIZER].size))
        vocabulary = content["model"]["vocab"]
        # Unigram models list (piece, score) in the order of the rows; the others map token to row.
        pairs = (
            enumerate(piece for piece, _ in vocabulary)
            if isinstance(vocabulary, list)
            else ((row, token) for token, row in vocabulary.items())
        )
        known = dict(pairs) | {token["id"]: token["content"] for token in content.get("added_tokens", [])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    sound = all(type(row) is int and isinstance(token, str) for row, token in known.items())
    return known if sound else {}
