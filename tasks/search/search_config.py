"""How α is searched for: one value, what names its result, and how many answers it takes."""

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import find_benchmark
from tasks.core.values import Value, fingerprint
from tasks.generation.settings import GenerationSettings
from tasks.search.candidates import most_candidates
from tasks.search.held_out import HeldOut
from tasks.search.objectives import ObjectiveConfig, objective_fingerprint
from tasks.search.racing import RaceSettings, Standing
from tasks.weights.options import ModulePreset
from tasks.weights.recipe import Recipe

__all__ = [
    "CHECKED_ANSWERS",
    "SearchConfig",
    "answers_left",
    "expected_answers",
    "most_answers",
    "most_judgments",
    "search_fingerprint",
]

MODULE_CANDIDATES = 3 * 6  # multiples of α: four for each module, and two around the best
CHECKED_ANSWERS = 8  # of the choice's written files, held against the search's own
ALL_MEMORY = 0.95  # share of a GPU that the engine, the reward models and a served judge have together


class SearchConfig(Value):
    """How α is searched for.

    objective   what the race is about
    second      reported for the choice beside the first, and never mixed in
    race        candidates, rounds, rails
    choosing, confirming   the most prompts of each half
    guard_items  questions of each guard benchmark of the rails that a candidate answers
    by_module    whether multiples of the choice are tried for attention, the MLPs and the rest
    preset       a named shape of α (see `tasks.weights.presets`): what is searched for is its scale
    merge        of an adapter: serve the whole model θ(α), not the adapter at another scale
    max_minutes  of one try; it ends with what was found so far, and the next try goes on
    """

    objective: ObjectiveConfig
    second: ObjectiveConfig | None = None
    race: RaceSettings = RaceSettings()
    choosing: int = 512
    confirming: int = 512
    by_module: bool = Field(default=False, exclude_if=lambda by_module: not by_module)
    preset: ModulePreset | None = Field(default=None, exclude_if=lambda preset: preset is None)
    merge: bool = Field(default=False, exclude_if=lambda merge: not merge)
    max_minutes: float | None = Field(default=None, gt=0)
    guard_items: int = Field(default=100, ge=10)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.second is not None and self.second == self.objective:
            raise ValueError("the second objective is the first; name another one, or none")
        if self.second is not None and self.second.judge and self.objective.judge:
            raise ValueError("one judge a search: its limits and its costs are the search's")
        if self.by_module and self.preset:
            raise ValueError("by_module is about one α for all modules; leave it or the preset out")
        if self._memory_of_scorers > ALL_MEMORY - 0.2:
            raise ValueError(
                "the reward models and the served judge leave the engine less than a fifth of a GPU's "
                "memory; give them less (gpu_memory_utilization), or a judge at an endpoint"
            )
        return self

    def settings(self, settings: GenerationSettings) -> GenerationSettings:
        """With batches as long as the first round, so that rounds are made of whole batches.

        Reward models and a served judge keep their share of the GPU's memory.
        """
        share = settings.gpu_memory_utilization
        taken = self._memory_of_scorers
        changes: dict[str, int | float] = {"batch_size": self.race.first_round}
        if taken:
            changes["gpu_memory_utilization"] = min(share, round(ALL_MEMORY - taken, 2))
        return settings.model_copy(update=changes)

    @property
    def objectives(self) -> tuple[ObjectiveConfig, ...]:
        """The first, and the second if there is one."""
        return (self.objective, self.second) if self.second else (self.objective,)

    @property
    def judge(self) -> Judge | None:
        """The judge that is asked, whether it decides or not."""
        return next((objective.judge for objective in self.objectives if objective.judge), None)

    @property
    def guards(self) -> Mapping[str, float]:
        """The margins of the benchmarks that are rails."""
        return self.race.limits.guards

    @property
    def _memory_of_scorers(self) -> float:
        rewards = [objective.reward_model for objective in self.objectives]
        served = self.judge.serve if self.judge else None
        return sum(model.gpu_memory_utilization for model in (*rewards, served) if model)


def search_fingerprint(
    recipe: Recipe, config: SearchConfig, settings: GenerationSettings, prompts: HeldOut, engine: str
) -> str:
    """sha256 of everything that decides the result.

    Of a guard among the rails that is its data, and the version of the package that scores it.

    Raises:
        InputError: a guard is no benchmark.
    """
    objectives = [objective_fingerprint(objective) for objective in config.objectives]
    left_out = {"objective", "second", "max_minutes"} | (set() if config.guards else {"guard_items"})
    rest = config.model_dump(mode="json", exclude=left_out)
    guards = {"guards": {name: _guard_identity(name) for name in config.guards}} if config.guards else {}
    return fingerprint(
        recipe.model_copy(update={"alpha": 0.0}),
        config.settings(settings),
        prompts,
        {"config": rest, "objectives": objectives, "engine": engine} | guards,
    )


def _guard_identity(name: str) -> dict[str, str | list[str]]:
    benchmark = find_benchmark(name)
    return {"rule": benchmark.rule, "data": [file.digest for file in benchmark.data_files]}


def expected_answers(config: SearchConfig, prompts: HeldOut) -> int:
    """How many answers a search takes, roughly: in simulations half of the grid's are made."""
    candidates = config.race.grid.count + (MODULE_CANDIDATES if config.by_module else 0)
    guarded = (candidates + 1) * len(config.guards) * config.guard_items
    return candidates * len(prompts.choosing) // 2 + 2 * len(prompts.confirming) + guarded


def most_answers(config: SearchConfig, prompts: HeldOut) -> int:
    """How many answers a search takes if no candidate ever drops out."""
    of_each = len(prompts.choosing) + len(config.guards) * config.guard_items
    candidates = most_candidates(config.race.grid) + (MODULE_CANDIDATES if config.by_module else 0)
    # those of the choice, of α = 0, and of the modules' multiples
    confirming = (3 if config.by_module else 2) * len(prompts.confirming)
    return candidates * of_each + confirming + min(CHECKED_ANSWERS, len(prompts.confirming))


def most_judgments(config: SearchConfig, prompts: HeldOut) -> int:
    """How many answers the judge compares with those of α = 0 at most."""
    if config.judge is None:
        return 0
    racing = most_candidates(config.race.grid) - 1 + (MODULE_CANDIDATES if config.by_module else 0)
    racing = racing if config.objective.judge else 0
    fresh = 2 if config.by_module and config.objective.judge else 1
    return racing * len(prompts.choosing) + fresh * len(prompts.confirming)


def answers_left(standings: Sequence[Standing], prompts: HeldOut) -> int:
    """How many answers a search still takes after a round, if nobody joins or drops out."""
    running = [standing.prompts for standing in standings if standing.fate == "tied with the best"]
    return sum(len(prompts.choosing) - answered for answered in running) + 2 * len(prompts.confirming)
