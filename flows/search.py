r"""Flow "expo-search": the α of a pair of checkpoints, or none.

expo search --sft A --aligned B --prompts held-out.jsonl --judge-model gpt-4o
prefect deployment run expo-search/search -p family=zephyr-7b-beta \
    -p config='{"objective": {"reward_model": {"checkpoint": "org/name"}}}'
"""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import FamilyName, default_store
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.table import DEFAULT
from tasks.comparison.decoding import settings_of
from tasks.comparison.judges import find_judges
from tasks.core.errors import InputError, OverBudgetError
from tasks.core.families import Family, find_family
from tasks.core.providers import provider_of
from tasks.core.worker import check_function, check_root
from tasks.resolve import resolve
from tasks.runtime.approval import require_approval
from tasks.runtime.run_names import model_name
from tasks.search.objectives import ObjectiveConfig
from tasks.search.result import SearchResult, describe
from tasks.search.search_config import SearchConfig
from tasks.search.ultrafeedback import ULTRAFEEDBACK
from tasks.search_alpha import estimate_search, search_alpha
from tasks.stores.artefact import Store

__all__ = ["estimate_family_search", "expo_search", "search_family"]


def _run_name() -> str:
    given = flow_run.parameters
    return f"{given.get('family') or model_name(given.get('aligned') or 'a pair')} α=search"


@flow(name="expo-search", flow_run_name=_run_name)
def expo_search(
    config: SearchConfig,
    family: FamilyName | None = None,
    aligned: str | None = None,
    sft: str | None = None,
    prompts: str | None = None,
    max_tokens: int | None = None,
    store: str | None = None,
    ask_before_judging: bool = False,
) -> SearchResult:
    """Races values of α on held-out prompts, in one engine, and confirms the choice on fresh ones.

    Args:
        config: What scores (a judge, a reward model or a Python function), the candidates, the rails.
        family: A name of the registry, for its checkpoints and its way of prompting.
        aligned: The aligned checkpoint, where the pair is no family's: a folder, a hub id or s3://….
        sft: The SFT checkpoint that it was made from.
        prompts: A file of held-out prompts; None: the family's own, else UltraFeedback's. Those of an
            evaluation are refused.
        max_tokens: Of an answer; None: the family's.
        store: Where the search and its model go: a folder or `s3://bucket/prefix`; None: $EXPO_STORE.
        ask_before_judging: Pause, with the estimate on a form, until a person lets the judge be paid.
    """
    store = Store(store or default_store()).uri
    entry = _entry(family, aligned, sft)
    check_root("store", store)
    if prompts and not provider_of(prompts):
        check_root("prompts", prompts)
    given = {"alpha_instructions": prompts, "max_tokens": max_tokens}
    entry = entry.model_copy(update={name: value for name, value in given.items() if value is not None})
    return _search(entry, config, store, ask=ask_before_judging)


def search_family(
    family: Family, config: SearchConfig | None, judge: Judge | None, asked: tuple[str, ...], store: str
) -> SearchResult:
    """The search of a run for a family's α, by what `config` says; None: by the judge of the run or family.

    Args:
        asked: the uris of the run's questions, guards among them, which judge the result and so cannot
            choose it.

    Raises:
        InputError: nobody judges, or the search is for a preset.
        OverBudgetError: a limit ended the search.
    """
    config = _config(family, config, judge)
    if config.preset:
        raise InputError(f"{family.name}: a run takes one α; search for the preset {config.preset} by itself")
    result = _search(family, config, store, asked)
    if result.stopped:
        raise OverBudgetError(f"{family.name}: {describe(result)}")
    return result


def estimate_family_search(
    family: Family, config: SearchConfig | None, judge: Judge | None, asked: tuple[str, ...]
) -> tuple[str, ...]:
    """What the judge of such a search will be asked at most, in words; empty where there is none."""
    config = _config(family, config, judge)
    if config.judge is None:
        return ()
    held_out = family.alpha_instructions or ULTRAFEEDBACK
    return (f"the search for {family.name}: {estimate_search(held_out, asked, settings_of(family), config)}",)


def _config(family: Family, config: SearchConfig | None, judge: Judge | None) -> SearchConfig:
    if config is not None:
        return config
    by_judge = find_judges(family, judge, (DEFAULT,))[DEFAULT]
    return SearchConfig(objective=ObjectiveConfig(judge=by_judge))


def _search(
    family: Family, config: SearchConfig, store: str, asked: tuple[str, ...] = (), *, ask: bool = False
) -> SearchResult:
    for objective in (config.objective, config.second):
        if objective and objective.function:
            check_function(objective.function)
    held_out = family.alpha_instructions or ULTRAFEEDBACK
    settings, own = settings_of(family), family.instructions
    evaluations = (*asked, own) if own else asked
    if ask and config.judge is not None:
        require_approval(estimate_search(held_out, evaluations, settings, config))
    (recipe,) = resolve(family, (0.0,), merge=config.merge)
    if config.merge and recipe.adapter is None:
        raise InputError(f"{recipe.aligned.uri}: no adapter to merge; leave merge out")
    return search_alpha(recipe, held_out, evaluations, settings, config, store)


def _entry(name: FamilyName | None, aligned: str | None, sft: str | None) -> Family:
    if name is not None and not (aligned or sft):
        return find_family(name)
    if name is not None or aligned is None or sft is None:
        raise InputError("search: give a family, or both the aligned and the SFT checkpoint")
    return Family.of_pair(aligned, sft)
