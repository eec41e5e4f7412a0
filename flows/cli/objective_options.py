"""What decides a search and what reports beside it, from the options of `expo search`."""

from typing import TYPE_CHECKING

from tasks.benchmarks.table import DEFAULT
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge
    from tasks.core.families import Family
    from tasks.search.objectives import ObjectiveConfig

__all__ = ["first_objective", "given_objective"]

SERVED_JUDGE_MEMORY = 0.45  # share of a GPU's memory: in a search a served judge shares it with the engine


def first_objective(
    judge: "Judge | None", reward_model: str | None, function: str | None, family: "Family | None"
) -> "ObjectiveConfig":
    """What decides; where nothing is named, the family's own judge.

    Raises:
        InputError: several are named, or none and the family has no judge.
    """
    from tasks.comparison.judges import find_judges
    from tasks.search.objectives import ObjectiveConfig

    if (found := given_objective(judge, reward_model, function)) is not None:
        return found
    if family is not None and family.judge:
        return ObjectiveConfig(judge=find_judges(family, None, (DEFAULT,))[DEFAULT])
    raise InputError(
        "search: nothing scores the answers; give --judge-model, --judge-serve, --reward-model or --function"
    )


def given_objective(
    judge: "Judge | None", reward_model: str | None, function: str | None
) -> "ObjectiveConfig | None":
    """The objective that is named, None where none is.

    Raises:
        InputError: several are named.
    """
    from tasks.search.objectives import ObjectiveConfig
    from tasks.search.reward_model import RewardModel

    if sum(given is not None for given in (judge, reward_model, function)) > 1:
        raise InputError(
            "search: one objective decides: a judge, --reward-model or --function; another one can report "
            "beside it (--judge-second, --second-reward-model, --second-function)"
        )
    if judge or reward_model or function:
        model = RewardModel(checkpoint=reward_model) if reward_model else None
        return ObjectiveConfig(
            judge=_beside_an_engine(judge) if judge else None, reward_model=model, function=function
        )
    return None


def _beside_an_engine(judge: "Judge") -> "Judge":
    """The judge; of the GPU's memory one that is served takes a part alone."""
    if judge.serve is None:
        return judge
    serve = judge.serve.model_copy(update={"gpu_memory_utilization": SERVED_JUDGE_MEMORY})
    return judge.model_copy(update={"serve": serve})
