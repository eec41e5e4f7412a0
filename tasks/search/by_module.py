"""After a search: whether attention, the MLPs or the rest want more or less of the α that was found.

Coordinate steps: one module after the other, multiples of α for it race as candidates do, while the
others stay as they are. A multiple of 1 stays unless it drops out. Exploratory: many candidates are
tried, the result chooses nothing, and its gain over the same α everywhere is told with their number.

    WORK/modules/mlp-0.5-1-1/      the answers of the step of the MLPs, with attention at half: as of a search
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.search.answering import CandidateAnswers, Totals
from tasks.search.candidates import Grid
from tasks.search.deadline import Deadline
from tasks.search.guard_rail import GuardRail, GuardScores
from tasks.search.held_out import HeldOut
from tasks.search.racing import Finish, race
from tasks.search.result import ByModule
from tasks.search.run import Choosing, paired_gain
from tasks.search.scoring import Objective
from tasks.search.search_config import SearchConfig
from tasks.stats.paired import PairedDifference
from tasks.weights.modules import matches
from tasks.weights.recipe import ModuleAlpha, Recipe

__all__ = ["ModuleSteps", "modules_of", "recipe_by_module"]

REST = "rest"
NAMED = ("attention", "mlp")
MULTIPLES = Grid(lowest=0.25, highest=2.0, count=4, limit=2.0)  # of the α that was found


class ModuleSteps:
    """The steps of a finished search."""

    def __init__(
        self,
        work: Path,
        recipe: Recipe,
        tensors: Sequence[str],
        config: SearchConfig,
        prompts: HeldOut,
        objective: Objective,
        guards: Mapping[str, GuardRail],
        deadline: Deadline,
        open_answers: Callable[..., CandidateAnswers],
    ) -> None:
        """
        Args:
            work: the search's folder, in which its answers are.
            tensors: the names of the tensors that α is about.
            open_answers: makes answers from a folder, and from recipes by a number.
        """
        self._work, self._recipe, self._tensors = work, recipe, tensors
        self._config, self._prompts, self._objective = config, prompts, objective
        self._guards, self._deadline, self._open_answers = guards, deadline, open_answers
        self.totals = Totals()  # of the steps so far

    def explore(self, alpha: float) -> ByModule:
        """Steps through the modules once, from the α that the search found.

        Raises:
            OverBudgetError: a limit is reached; what was made is kept.
        """
        modules = modules_of(self._tensors)
        multiples, tried = dict.fromkeys(modules, 1.0), 0
        difference = None
        racing = self._config.race.model_copy(update={"grid": MULTIPLES})
        for module in modules:
            folder = (
                self._work / "modules" / f"{module}-{'-'.join(f'{each:g}' for each in multiples.values())}"
            )
            _share_zero(self._work, folder)
            recipe_at = _Step(self._recipe, alpha, self._tensors, module, dict(multiples)).recipe
            with self._step(folder, recipe_at) as answers:
                finish = race(racing, len(self._prompts.choosing), self._evaluator(folder, answers))
                tried += len(finish.standings) - 1  # without the aligned model
                multiples[module] = _winner(finish)
                if module == modules[-1] and set(multiples.values()) != {1.0}:
                    difference = self._compare(answers, multiples[module], alpha)
        return ByModule(alpha=alpha, multiples=multiples, tried=tried, difference=difference)

    @contextmanager
    def _step(self, folder: Path, recipe_at: Callable[[float], Recipe]) -> Iterator[CandidateAnswers]:
        with self._open_answers(folder, recipe_at=recipe_at) as answers:
            try:
                yield answers
            finally:
                self.totals = self.totals.plus(answers.totals(zero=False))

    def _compare(self, answers: CandidateAnswers, multiple: float, alpha: float) -> PairedDifference:
        """A step's answers at a multiple with the search's own at α, on the confirming prompts."""
        with self._open_answers(self._work) as whole:
            return paired_gain((answers, multiple), (whole, alpha), self._prompts.confirming, self._objective)

    def _evaluator(self, folder: Path, answers: CandidateAnswers) -> Choosing:
        guards = GuardScores(self._guards, folder, answers.answers)
        limits, prompts = self._config.race.limits, self._prompts.choosing
        return Choosing(limits, answers, prompts, self._objective, guards, self._deadline)


class _Step:
    """One module's multiples, with those of the others."""

    def __init__(
        self,
        recipe: Recipe,
        alpha: float,
        tensors: Sequence[str],
        module: str,
        multiples: Mapping[str, float],
    ) -> None:
        self._recipe, self._alpha, self._tensors = recipe, alpha, tensors
        self._module, self._multiples = module, multiples

    def recipe(self, multiple: float) -> Recipe:
        """At a multiple for the module; 0 is the aligned model itself."""
        if multiple == 0:
            return self._recipe.model_copy(update={"alpha": 0.0})
        multiples = {**self._multiples, self._module: multiple}
        return recipe_by_module(self._recipe, self._alpha, multiples, self._tensors)


def recipe_by_module(
    recipe: Recipe, alpha: float, multiples: Mapping[str, float], tensors: Sequence[str]
) -> Recipe:
    """The recipe with these multiples of α; a module that no tensor is of is left out."""
    entries = tuple(
        ModuleAlpha(pattern=name, alpha=alpha * multiples[name])
        for name in modules_of(tensors)
        if name != REST
    )
    of_rest = alpha * multiples.get(REST, 1.0)
    return recipe.model_copy(update={"alpha": of_rest, "module_alphas": entries})


def modules_of(tensors: Sequence[str]) -> tuple[str, ...]:
    """Those that some tensor is of, by its name; what is of none of them is the rest."""
    found = {next((name for name in NAMED if _is_of(name, tensor)), REST) for tensor in tensors}
    return tuple(name for name in (*NAMED, REST) if name in found)


def _is_of(module: str, tensor: str) -> bool:
    return matches(ModuleAlpha(pattern=module, alpha=0.0), tensor)


def _share_zero(work: Path, step: Path) -> None:
    """Copies the aligned model's answers of a search into a step's folder: they are the same."""
    if (step / "alpha-0").exists():
        return
    step.mkdir(parents=True, exist_ok=True)
    shutil.copytree(work / "alpha-0", step / "alpha-0.part", dirs_exist_ok=True)
    shutil.copyfile(work / "own.json", step / "own.json")
    (step / "alpha-0.part").rename(step / "alpha-0")


def _winner(finish: Finish) -> float:
    """1 as long as it is in the race, else the best; where nothing beats the aligned model, 1 too."""
    return 1.0 if 1.0 in finish.tied or finish.best == 0 else finish.best
