"""Which token a row of an embedding belongs to: a tokenizer's vocabulary, read from its files.

tokenizer.json, vocab.json with added_tokens.json, vocab.txt and SentencePiece's tokenizer.model; each
with the tokens that tokenizer_config.json adds. Only strings and numbers are read, no code is run.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from tasks.stores.source import Source

__all__ = ["row_tokens", "same_tokenizer"]

FAST, SENTENCE_PIECE = "tokenizer.json", "tokenizer.model"
TOKENIZERS = (FAST, "vocab.json", "vocab.txt", SENTENCE_PIECE)
ADDED = ("added_tokens.json", "tokenizer_config.json")
MAX_BYTES = 100_000_000
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, UnicodeError)


def row_tokens(source: Source) -> dict[int, str]:
    """Row → token of a checkpoint's tokenizer; empty where there is none that can be read here."""
    for file in TOKENIZERS:
        if file in source.files():
            with suppress(*_UNREADABLE):
                found = _READERS[file](source) | _added(source)
                if all(type(row) is int and isinstance(token, str) for row, token in found.items()):
                    return found
    return {}


def same_tokenizer(aligned: Source, sft: Source) -> bool:
    """Whether both have the same tokenizer files, byte for byte: what need not be read token by token."""
    names = [{name for name in (*TOKENIZERS, *ADDED) if name in source.files()} for source in (aligned, sft)]
    if names[0] != names[1] or not names[0] & set(TOKENIZERS):
        return False
    # Settings of the tokenizer differ between versions while its tokens do not; these are read.
    return all(_same_file(aligned, sft, name) for name in names[0])


def _same_file(aligned: Source, sft: Source, name: str) -> bool:
    new, old = aligned.files()[name], sft.files()[name]
    if new.size != old.size:
        return False
    for stated, also in ((new.sha256, old.sha256), (new.etag, old.etag)):
        if stated is not None and also is not None:
            return stated == also
    return new.size <= MAX_BYTES and aligned.read(name, 0, new.size) == sft.read(name, 0, new.size)


def _json(source: Source, name: str) -> Any:  # noqa: ANN401 (a file's content can be anything)
    return json.loads(_content(source, name))


def _content(source: Source, name: str) -> bytes:
    size = source.files()[name].size
    if size > MAX_BYTES:
        raise ValueError(f"{name}: {size} bytes are too many for a tokenizer")
    return source.read(name, 0, size)


def _from_fast(source: Source) -> dict[int, str]:
    content = _json(source, FAST)
    vocabulary = content["model"]["vocab"]
    # Unigram models list (piece, score) in the order of the rows; the others map token to row.
    pairs = (
        enumerate(piece for piece, _ in vocabulary)
        if isinstance(vocabulary, list)
        else ((row, token) for token, row in vocabulary.items())
    )
    return dict(pairs) | {token["id"]: token["content"] for token in content.get("added_tokens", [])}


def _from_vocabulary(source: Source) -> dict[int, str]:
    return {row: token for token, row in _json(source, "vocab.json").items()}


def _from_lines(source: Source) -> dict[int, str]:
    return dict(enumerate(_content(source, "vocab.txt").decode().splitlines()))


def _from_sentence_piece(source: Source) -> dict[int, str]:
    from sentencepiece import SentencePieceProcessor

    try:
        pieces = SentencePieceProcessor(model_proto=_content(source, SENTENCE_PIECE))
    except RuntimeError as error:  # no model of this kind
        raise ValueError(str(error)) from error
    return {row: pieces.IdToPiece(row) for row in range(pieces.GetPieceSize())}


def _added(source: Source) -> dict[int, str]:
    """The tokens that the files beside the vocabulary add to it, or rename in it."""
    return dict(_added_pairs(source))


def _added_pairs(source: Source) -> Iterator[tuple[int, str]]:
    files = source.files()
    if "added_tokens.json" in files:
        yield from ((row, token) for token, row in _json(source, "added_tokens.json").items())
    if "tokenizer_config.json" in files:
        decoder: Mapping[str, Any] = _json(source, "tokenizer_config.json").get("added_tokens_decoder") or {}
        yield from ((int(row), token["content"]) for row, token in decoder.items())


_READERS = {
    FAST: _from_fast,
    "vocab.json": _from_vocabulary,
    "vocab.txt": _from_lines,
    SENTENCE_PIECE: _from_sentence_piece,
}
