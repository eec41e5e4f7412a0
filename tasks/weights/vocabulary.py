"""Rows of embeddings and heads: which row of the SFT side is whose, by token and not by number."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache

from tasks.core.values import Value
from tasks.stores.source import Source
from tasks.weights.recipe import Vocabulary
from tasks.weights.tokens import row_tokens, same_tokenizer

__all__ = [
    "HEAD",
    "INPUT_EMBEDDING",
    "RowRun",
    "Tokenizers",
    "is_head",
    "is_input_embedding",
    "is_vocabulary",
]

INPUT_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|tok_embeddings|wte|embed_in|word_embeddings)\.weight$")
HEAD = re.compile(r"(^|\.)(lm_head\.(weight|bias)|embed_out\.weight)$|^output\.weight$")
EXAMPLES = 3
NAMES_KEPT = 1 << 16


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
    return is_input_embedding(name) or is_head(name)


@lru_cache(NAMES_KEPT)
def is_input_embedding(name: str) -> bool:
    """Whether a tensor is the model's first matrix, by its name; asked again and again while planning."""
    return INPUT_EMBEDDING.search(name) is not None


@lru_cache(NAMES_KEPT)
def is_head(name: str) -> bool:
    """Whether a tensor is the model's last matrix or its bias, by its name."""
    return HEAD.search(name) is not None


class Tokenizers:
    """The two sides' tokenizers; read when they are first asked for, and only where their files differ."""

    def __init__(self, aligned: Source, sft: Source) -> None:
        self._aligned, self._sft = aligned, sft

    @cached_property
    def same(self) -> bool:
        """Whether the tokenizers' files are the same."""
        return same_tokenizer(self._aligned, self._sft)

    @cached_property
    def tokens(self) -> tuple[dict[int, str], dict[int, str]]:
        """Row → token of the aligned and of the SFT side; empty where it cannot be read."""
        return row_tokens(self._aligned), row_tokens(self._sft)

    def difference(self, rows: int) -> str | None:
        """What is wrong with pairing `rows` rows by position: rows that belong to other tokens.

        A token that only one side has, in a row that has none on the other, is no reason.
        """
        if self.same:
            return None
        aligned, sft = self.tokens
        moved = [row for row in range(rows) if row in aligned and row in sft and aligned[row] != sft[row]]
        if not moved:
            return None
        examples = ", ".join(
            f"row {row} is {aligned[row]!r} on the aligned side and {sft[row]!r} on the SFT side"
            for row in moved[:EXAMPLES]
        )
        more = f", and {len(moved) - EXAMPLES:,} more rows" if len(moved) > EXAMPLES else ""
        return (
            f"the tokenizers differ: {examples}{more}; --vocabulary common-rows pairs the rows of equal "
            "tokens and keeps the aligned side's others, --vocabulary by-position pairs them as they stand"
        )

    def notices(self, policy: Vocabulary) -> tuple[str, ...]:
        """How rows are paired where it is not the usual way, which is by tokens found equal."""
        aligned, sft = (True, True) if self.same else map(bool, self.tokens)
        if policy == "by-position" or (policy == "common-rows" and not (aligned and sft)):
            return ("vocabulary rows are paired by position",)
        if policy == "common-rows":
            return ("vocabulary rows are paired by their token strings",)
        if aligned != sft:
            side = "SFT" if aligned else "aligned"
            return (f"the {side} side has no tokenizer that can be read: rows are paired by position",)
        return ()

    def common_rows(self, rows: int, sft_rows: int, policy: Vocabulary) -> tuple[RowRun, ...]:
        """How `rows` of the aligned side correspond to `sft_rows` of the other.

        By token string where both have a tokenizer that can be read; rows without a token keep the
        aligned weights. Otherwise, and where the policy is "by-position", by position.
        """
        aligned, sft = self.tokens if policy == "common-rows" else ({}, {})
        if not aligned or not sft:
            return tuple(_runs(row if row < sft_rows else None for row in range(rows)))
        ids = {token: row for row, token in sft.items() if row < sft_rows}
        return tuple(_runs(ids.get(aligned[row]) if row in aligned else None for row in range(rows)))


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
