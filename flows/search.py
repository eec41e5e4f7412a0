"""Flow "expo-search": the α of a pair of checkpoints, or none.

expo search --sft A --aligned B --prompts held-out.jsonl --judge-model gpt-4o
prefect deployment run expo-search/search -p family=demo
"""

from prefect import flow

from flows.parameters import FamilyName, default_store
from tasks.comparison.decoding import settings_of
from tasks.core.errors import InputError
from tasks.core.families import Family, find_family
from tasks.core.providers import provider_of
from tasks.core.worker import check_function, check_root
from tasks.resolve import resolve
from tasks.search.result import SearchResult
from tasks.search.run import SearchConfig
from tasks.search_alpha import search_alpha
from tasks.stores.artefact import Store

__all__ = ["expo_search"]


@flow(name="expo-search")
def expo_search(
    config: SearchConfig,
    family: FamilyName | None = None,
    aligned: str | None = None,
    sft: str | None = None,
    prompts: str | None = None,
    max_tokens: int | None = None,
    store: str | None = None,
) -> SearchResult:
    """Races values of α on held-out prompts, in one engine, and confirms the choice on fresh ones.

    Args:
        config: What scores (a judge, or a Python function), the candidates, the rails.
        family: A name of the registry, for its checkpoints and its way of prompting.
        aligned, sft: The pair, where it is no family's: folders, hub ids or s3://….
        prompts: A file of held-out prompts; None: the family's own. Those of an evaluation are refused.
        max_tokens: Of an answer; None: the family's.
        store: A folder or s3://bucket/prefix; None: $EXPO_STORE.
    """
    store = Store(store or default_store()).uri
    entry = _entry(family, aligned, sft)
    check_root("store", store)
    for objective in (config.objective, config.second):
        if objective and objective.function:
            check_function(objective.function)
    if prompts and not provider_of(prompts):
        check_root("prompts", prompts)
    held_out = prompts or entry.alpha_instructions
    if held_out is None:
        raise InputError(f"{entry.name}: no held-out prompts; give a file of prompts that no benchmark asks")
    if max_tokens is not None:
        entry = entry.model_copy(update={"max_tokens": max_tokens})
    (recipe,) = resolve(entry, (0.0,))
    return search_alpha(recipe, held_out, entry.instructions, settings_of(entry), config, store)


def _entry(name: FamilyName | None, aligned: str | None, sft: str | None) -> Family:
    if name is not None and not (aligned or sft):
        return find_family(name)
    if name is not None or aligned is None or sft is None:
        raise InputError("search: give a family, or both the aligned and the SFT checkpoint")
    return Family(
        name="search",
        group="experimental",
        aligned=aligned,
        sft=sft,
        alpha=0.0,
        alpha_source="to be searched for",
        architecture="unknown",
    )
