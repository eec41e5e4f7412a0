"""A search from its prompts to its result: the race, then the choice on fresh prompts."""

from collections.abc import Callable, Sequence

from tasks.benchmarks.budget import Usage, dollars
from tasks.core.values import Value, fingerprint
from tasks.generation.settings import GenerationSettings
from tasks.search.answering import CandidateAnswers, Half
from tasks.search.candidates import most_candidates
from tasks.search.found import pair_key
from tasks.search.held_out import HeldOut
from tasks.search.objectives import Answered, Objective, ObjectiveConfig, objective_fingerprint
from tasks.search.racing import Evaluator, RaceSettings, Standing, race
from tasks.search.rails import Vitals, read_rails
from tasks.search.result import Confirmation, SearchCosts, SearchResult, confirm, decide
from tasks.stats.paired import PairedDifference, paired_difference
from tasks.weights.recipe import Recipe

__all__ = [
    "SearchConfig",
    "answers_left",
    "expected_answers",
    "most_answers",
    "run_search",
    "search_fingerprint",
]


class SearchConfig(Value):
    """How α is searched for.

    objective   what the race is about
    second      reported for the choice beside the first, and never mixed in
    race        candidates, rounds, rails
    choosing, confirming   the most prompts of each half
    """

    objective: ObjectiveConfig
    second: ObjectiveConfig | None = None
    race: RaceSettings = RaceSettings()
    choosing: int = 512
    confirming: int = 512

    def settings(self, settings: GenerationSettings) -> GenerationSettings:
        """With batches as long as the first round, so that rounds are made of whole batches."""
        return settings.model_copy(update={"batch_size": self.race.first_round})


def search_fingerprint(
    recipe: Recipe, config: SearchConfig, settings: GenerationSettings, prompts: HeldOut, engine: str
) -> str:
    """sha256 of everything that decides the result."""
    objectives = [
        objective_fingerprint(objective) for objective in (config.objective, config.second) if objective
    ]
    rest = config.model_dump(mode="json", exclude={"objective", "second"})
    return fingerprint(
        recipe.model_copy(update={"alpha": 0.0}),
        config.settings(settings),
        prompts,
        {"config": rest, "objectives": objectives, "engine": engine},
    )


def expected_answers(config: SearchConfig, prompts: HeldOut) -> int:
    """How many answers a search takes, roughly: in simulations half of the grid's are made."""
    return config.race.grid.count * len(prompts.choosing) // 2 + 2 * len(prompts.confirming)


def most_answers(config: SearchConfig, prompts: HeldOut) -> int:
    """How many answers a search takes if no candidate ever drops out."""
    return most_candidates(config.race.grid) * len(prompts.choosing) + 2 * len(prompts.confirming)


def answers_left(standings: Sequence[Standing], prompts: HeldOut) -> int:
    """How many answers a search still takes after a round, if nobody joins or drops out."""
    running = [standing.prompts for standing in standings if standing.fate == "tied with the best"]
    return sum(len(prompts.choosing) - answered for answered in running) + 2 * len(prompts.confirming)


def run_search(
    recipe: Recipe,
    config: SearchConfig,
    answers: CandidateAnswers,
    prompts: HeldOut,
    objective: Objective,
    second: Objective | None,
    name: str,
    on_round: Callable[[Sequence[Standing]], None],
) -> SearchResult:
    """Races the candidates, and holds the choice against α = 0 on the confirming half.

    Every answer and judgment is journaled, so the same call after a kill goes the same way and
    makes only what is missing.
    """
    finish = race(
        config.race, len(prompts.choosing), _Choosing(answers, prompts.choosing, objective), on_round
    )
    confirmation = None
    if finish.choice is not None:
        confirmation = _confirm(finish.choice, config, answers, prompts.confirming, objective, second)
    alpha, reason = decide(finish, confirmation)
    return SearchResult(
        aligned=pair_key(recipe.aligned),
        sft=pair_key(recipe.sft),
        objective=config.objective.describe(),
        judged=config.objective.judge is not None,
        alpha=alpha,
        reason=reason,
        best=finish.best,
        tied=finish.tied,
        standings=finish.standings,
        rounds=finish.rounds,
        confirmation=confirmation,
        costs=_costs(config, answers, [scorer for scorer in (objective, second) if scorer]),
        engine=answers.engine,
        fingerprint=name,
    )


class _Choosing(Evaluator):
    """Candidates on the choosing half."""

    def __init__(self, answers: CandidateAnswers, prompts: Sequence[str], objective: Objective) -> None:
        self._answers, self._prompts, self._objective = answers, prompts, objective

    def vitals(self, alpha: float, prompts: int) -> Vitals:
        return self._answers.vitals("choosing", alpha, prompts)

    def scores(self, alpha: float, prompts: int) -> Sequence[float]:
        return _scores(self._answers, "choosing", self._prompts[:prompts], self._objective, alpha)


def _confirm(
    alpha: float,
    config: SearchConfig,
    answers: CandidateAnswers,
    prompts: Sequence[str],
    objective: Objective,
    second: Objective | None,
) -> Confirmation:
    count = len(prompts)
    baseline = answers.vitals("confirming", 0.0, count)
    rails = read_rails(answers.vitals("confirming", alpha, count), baseline, config.race.limits)
    first = [_scores(answers, "confirming", prompts, objective, of) for of in (alpha, 0.0)]
    again = _difference(answers, prompts, second, alpha) if second else None
    scores, zero = _with_scores(*first)
    return confirm(alpha, scores, zero, rails, again)


def _difference(
    answers: CandidateAnswers, prompts: Sequence[str], objective: Objective, alpha: float
) -> PairedDifference:
    scores, zero = _with_scores(
        _scores(answers, "confirming", prompts, objective, alpha),
        _scores(answers, "confirming", prompts, objective, 0.0),
    )
    return paired_difference(zero, scores)


def _with_scores(scores: Sequence[float], zero: Sequence[float]) -> tuple[list[float], list[float]]:
    """The pairs of which both have a score; NaN is none."""
    pairs = [pair for pair in zip(scores, zero, strict=True) if pair[0] == pair[0] and pair[1] == pair[1]]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _scores(
    answers: CandidateAnswers, half: Half, prompts: Sequence[str], objective: Objective, alpha: float
) -> list[float]:
    candidate = [answer.output for answer in answers.answers(half, alpha, len(prompts))]
    baseline = [answer.output for answer in answers.answers(half, 0.0, len(prompts))]
    return objective.scores(alpha, Answered(prompts, candidate, baseline))


def _costs(config: SearchConfig, answers: CandidateAnswers, objectives: Sequence[Objective]) -> SearchCosts:
    count, tokens, seconds = answers.totals()
    usage = sum((objective.usage() for objective in objectives), Usage())
    judge = config.objective.judge
    return SearchCosts(
        answers=count,
        answer_tokens=tokens,
        seconds=seconds,
        judge_requests=usage.requests,
        judge_tokens=usage.prompt_tokens + usage.completion_tokens,
        dollars=dollars(judge, usage) if judge else None,
    )
