"""Whether a model is better: search and compare. Only a call of `search` loads Prefect."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.comparison.compare import Comparison
from tasks.comparison.compare import compare as decide
from tasks.comparison.decoding import settings_of
from tasks.core.families import Family
from tasks.search.racing import Standing
from tasks.search.result import SearchResult
from tasks.search.search_config import SearchConfig
from tasks.stores.artefact import Store

__all__ = ["Comparison", "compare", "search"]

RoundCallback = Callable[[Sequence[Standing]], None]


def compare(first: str | Path, second: str | Path, *, min_judged: float = 0.95) -> Comparison:
    """Whether the second file's model is better than the first's, paired by what was asked.

    The form of the files tells the benchmark: AlpacaEval's `annotations.json`, MT-Bench's `.jsonl`.

    Args:
        first: Judgments of one model.
        second: Judgments of another, by the same judge against the same reference.
        min_judged: The share of items judged in both below which there is no verdict.

    Raises:
        InputError: the files are of two benchmarks, judges or references.
        PermanentError: too little of them was judged in both.
    """
    return decide(Path(first), Path(second), min_judged=min_judged)


def search(
    aligned: str,
    sft: str,
    prompts: str | Path,
    config: SearchConfig,
    *,
    store: str = "expo-store",
    max_tokens: int | None = None,
    progress: RoundCallback | None = None,
) -> SearchResult:
    """The α of a pair by a race on held-out prompts in one running engine, or none that helps.

    A search that was interrupted resumes behind its last answers; one that is finished is read
    from the store. The choice is written there too, and verified. Where a limit of the config or
    of its judge ends the search, the result says so (`stopped`) and has no α.

    Args:
        aligned: The aligned checkpoint θ_1: a folder, hub id[@revision] or s3://….
        sft: The SFT checkpoint θ_0.
        prompts: A file of held-out prompts, or "ultrafeedback"; those of an evaluation set are refused.
        config: What scores the answers (a judge, a reward model or a function), the candidates, the rails.
        store: Where artefacts go: a folder or s3://bucket/prefix.
        max_tokens: Of an answer; None: 2048.
        progress: Called after each round with where every candidate stands.

    Raises:
        InputError: prompts of an evaluation set, or too few; an objective that does not exist.
        RetryableError: the engine died; the same call resumes.
    """
    from tasks.resolve import resolve
    from tasks.search_alpha import search_alpha

    pair = Family.of_pair(aligned, sft)
    if max_tokens is not None:
        pair = pair.model_copy(update={"max_tokens": max_tokens})
    (recipe,) = resolve.fn(pair, (0.0,))
    return search_alpha.fn(
        recipe, str(prompts), (), settings_of(pair), config, Store(store).uri, on_round=progress
    )
