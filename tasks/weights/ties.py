"""Heads that are tied to the input embedding: stored twice, once, or under the other's name."""

from collections.abc import Callable, Iterator, Mapping

from tasks.weights.configuration import ties_words
from tasks.weights.headers import TensorRange
from tasks.weights.samples import same_bytes
from tasks.weights.sides import Side
from tasks.weights.vocabulary import is_head, is_input_embedding

__all__ = ["is_tied_head", "stand_ins", "trained_head", "with_embedding"]

Tensors = Mapping[str, TensorRange]


def with_embedding(side: Side, other: Side) -> Side:
    """The side with its tied head under the embedding's name, where `save_model` kept only the head.

    Engines look for the embedding: an output with the head alone would be loaded with a random one.
    """
    if not _ties(side) or _only(side.tensors, is_input_embedding):
        return side
    head = _only(side.tensors, is_head)
    embedding = _only(other.tensors, is_input_embedding)
    if not (head and embedding):
        return side
    tensors = {embedding if name == head else name: tensor for name, tensor in side.tensors.items()}
    notice = f"{side.name}: {head} is paired as {embedding}, which is tied to it and was not stored"
    return side._replace(tensors=tensors, notices=(*side.notices, notice))


def stand_ins(aligned: Side, sft: Side) -> dict[str, TensorRange]:
    """What stands for the names that the SFT side has not because it ties them.

    Either the aligned side stores both names at one place (a `.bin` does), or the SFT side's config
    ties the head to the embedding.
    """
    missing = {name: tensor for name, tensor in aligned.tensors.items() if name not in sft.tensors}
    if not missing:
        return {}
    places: dict[tuple[str, int], list[str]] = {}
    for name, tensor in aligned.tensors.items():
        if name not in missing:
            places.setdefault((tensor.file, tensor.offset), []).append(name)
    embedding = _only(sft.tensors, is_input_embedding)
    found: dict[str, TensorRange] = {}
    for name, tensor in missing.items():
        here = places.get((tensor.file, tensor.offset), []) if tensor.nbytes else []
        aliases = [alias for alias in here if aligned.tensors[alias] == tensor]
        if len(aliases) == 1:
            found[name] = sft.tensors[aliases[0]]
        elif embedding and is_head(name) and _ties(sft):
            found[name] = sft.tensors[embedding]
    return found


def is_tied_head(side: Side, name: str) -> bool:
    """Whether the config says that this is the embedding once more."""
    return is_head(name) and _ties(side)


def trained_head(side: Side, other: Tensors) -> Iterator[tuple[str, str]]:
    """(tensor, reason) where one side alone stores a head of its own that a tie would drop."""
    embedding = _only(side.tensors, is_input_embedding) if _ties(side) else None
    if embedding is None:
        return
    for name, tensor in side.tensors.items():
        if name in other or not is_head(name):
            continue
        if not same_bytes(side.source, tensor, side.source, side.tensors[embedding]):
            yield (
                name,
                f"{side.words} has a head that differs from {embedding}, and its config.json ties the two, "
                "so that loading drops the head; set tie_word_embeddings to false there if the head was "
                "trained, else remove it",
            )


def _ties(side: Side) -> bool:
    return ties_words(side.config or {})


def _only(tensors: Tensors, is_meant: Callable[[str], bool]) -> str | None:
    """The name of the one weight matrix that is meant."""
    names = [name for name in tensors if is_meant(name) and len(tensors[name].shape) == 2]
    return names[0] if len(names) == 1 else None
