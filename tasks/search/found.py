"""Searches that a store holds: the α of a pair by an earlier search."""

from tasks.core.errors import InputError
from tasks.search.result import SearchResult
from tasks.stores.artefact import Store
from tasks.stores.source import Checkpoint

__all__ = ["SEARCHES", "alpha_of_search", "pair_key", "searches"]

SEARCHES = "searches"


def pair_key(checkpoint: Checkpoint) -> str:
    """A checkpoint as a result names it: uri@commit."""
    return f"{checkpoint.uri}@{checkpoint.commit}"


def searches(store: Store, aligned: Checkpoint, sft: Checkpoint) -> list[SearchResult]:
    """The finished searches of exactly this pair, in the order of their names; of presets none."""
    found = []
    for name in store.names(SEARCHES):
        content = store.artefact(SEARCHES, name).manifest()
        result = SearchResult.model_validate_json(content or b"")
        of_pair = (result.aligned, result.sft) == (pair_key(aligned), pair_key(sft))
        if of_pair and not result.preset:
            found.append(result)
    return found


def alpha_of_search(store: Store, aligned: Checkpoint, sft: Checkpoint) -> float:
    """The α that the pair's searches agree on.

    Raises:
        InputError: there is no search of this pair, it found no α, or several disagree.
    """
    found = searches(store, aligned, sft)
    where = f"{store.uri}: the pair {pair_key(aligned)} and {pair_key(sft)}"
    if not found:
        raise InputError(f"{where} was not searched there; run `expo search`, or name its --store")
    alphas = {result.alpha for result in found}
    if len(alphas) > 1:
        several = ", ".join(f"{result.alpha} ({result.objective})" for result in found)
        raise InputError(f"{where} has searches that disagree: {several}; give the α itself")
    (alpha,) = alphas
    if alpha is None:
        raise InputError(f"{where}: the search found no α that helps; give one yourself to have it anyway")
    return alpha
