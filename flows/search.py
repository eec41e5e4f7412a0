"""Flow "expo-search": the α of a pair of checkpoints, or none.

expo search --sft A --aligned B --prompts held-out.jsonl --judge-model gpt-4o
prefect deployment run expo-search/search -p family=demo
"""

from prefect import flow

from flows.parameters import FamilyName, default_store
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.table import DEFAULT
from tasks.comparison.decoding import settings_of
from tasks.comparison.judges import find_judges
from tasks.core.errors import InputError
from tasks.core.families import Family, find_family
from tasks.core.providers import provider_of
from tasks.core.worker import check_function, check_root
from tasks.resolve import resolve
from tasks.search.objectives import ObjectiveConfig
from tasks.search.result import SearchResult
from tasks.search.run import SearchConfig
from tasks.search_alpha import search_alpha
from tasks.stores.artefact import Store

__all__ = ["expo_search", "search_family"]


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
    if prompts and not provider_of(prompts):
        check_root("prompts", prompts)
    given = {"alpha_instructions": prompts, "max_tokens": max_tokens}
    entry = entry.model_copy(update={name: value for name, value in given.items() if value is not None})
    return _search(entry, config, store)


def search_family(
    family: Family, config: SearchConfig | None, judge: Judge | None, store: str
) -> SearchResult:
    """The search of a run for a family's α, by what `config` says; None: by the judge of the run or family.

    Raises:
        InputError: nobody judges, or the registry has no held-out prompts for the family.
    """
    if config is None:
        by_judge = find_judges(family, judge, (DEFAULT,))[DEFAULT]
        config = SearchConfig(objective=ObjectiveConfig(judge=by_judge))
    return _search(family, config, store)


def _search(family: Family, config: SearchConfig, store: str) -> SearchResult:
    for objective in (config.objective, config.second):
        if objective and objective.function:
            check_function(objective.function)
    held_out = family.alpha_instructions
    if held_out is None:
        raise InputError(f"{family.name}: no held-out prompts; give a file of prompts that no benchmark asks")
    (recipe,) = resolve(family, (0.0,))
    return search_alpha(recipe, held_out, family.instructions, settings_of(family), config, store)


def _entry(name: FamilyName | None, aligned: str | None, sft: str | None) -> Family:
    if name is not None and not (aligned or sft):
        return find_family(name)
    if name is not None or aligned is None or sft is None:
        raise InputError("search: give a family, or both the aligned and the SFT checkpoint")
    return Family.of_pair(aligned, sft)
