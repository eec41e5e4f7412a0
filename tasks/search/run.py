"""A search from its prompts to its result: the race, then the choice on fresh prompts."""

from collections.abc import Sequence

from tasks.benchmarks.budget import Usage, dollars
from tasks.core.errors import OverBudgetError
from tasks.search.answering import CandidateAnswers, Totals
from tasks.search.deadline import Deadline
from tasks.search.found import pair_key
from tasks.search.guard_rail import GuardScores
from tasks.search.held_out import HeldOut
from tasks.search.racing import Evaluator, Finish, Play, PlayRound, Standing, finish_after, race
from tasks.search.rails import RailLimits, RailReading, Vitals, broken, read_rails
from tasks.search.result import Confirmation, SearchCosts, SearchResult, confirm, decide
from tasks.search.scoring import Answered, Objective, checked_scores
from tasks.search.search_config import SearchConfig
from tasks.stats.paired import PairedDifference, paired_difference
from tasks.weights.recipe import Recipe

__all__ = ["Choosing", "paired_gain", "run_search", "search_costs"]

_NOTHING = Finish(best=0.0, tied=(), standings=(), rounds=(), answers=0)


def run_search(
    recipe: Recipe,
    config: SearchConfig,
    answers: CandidateAnswers,
    prompts: HeldOut,
    objective: Objective,
    second: Objective | None,
    guards: GuardScores,
    name: str,
    play_round: PlayRound,
    deadline: Deadline,
) -> SearchResult:
    """Races the candidates, and holds the choice against α = 0 on the confirming half.

    Every answer and judgment is journaled, so the same call after a kill goes the same way and
    makes only what is missing. A limit of time, requests or money ends it with what was found
    by the last whole round.
    """
    finish, stopped, confirmation = _NOTHING, "", None

    def play_and_keep(count: int, play: Play) -> None:
        def kept() -> tuple[Standing, ...]:
            nonlocal finish
            standings = play()
            finish = finish_after(standings, finish.rounds)
            return standings

        play_round(count, kept)

    try:
        choosing = Choosing(config.race.limits, answers, prompts.choosing, objective, guards, deadline)
        finish = race(config.race, len(prompts.choosing), choosing, play_and_keep)
        if finish.choice is not None:
            deadline.check()
            rails = _fresh_rails(finish.choice, config, answers, len(prompts.confirming), guards)
            confirmation = _confirm(finish.choice, answers, prompts.confirming, objective, second, rails)
    except OverBudgetError as error:
        stopped = str(error)
    alpha, reason = decide(finish, confirmation, stopped=bool(stopped))
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
        costs=search_costs(config, answers.totals(), [scorer for scorer in (objective, second) if scorer]),
        engine=answers.engine,
        fingerprint=name,
        stopped=stopped,
        preset=config.preset or "",
    )


class Choosing(Evaluator):
    """Candidates on the choosing half, for as long as there is time."""

    def __init__(
        self,
        limits: RailLimits,
        answers: CandidateAnswers,
        prompts: Sequence[str],
        objective: Objective,
        guards: GuardScores,
        deadline: Deadline,
    ) -> None:
        self._limits, self._answers, self._prompts, self._objective = limits, answers, prompts, objective
        self._guards, self._deadline = guards, deadline

    def vitals(self, alpha: float, prompts: int) -> Vitals:
        """With the guards' scores where the cheaper rails hold."""
        self._deadline.check()
        vitals = self._answers.vitals("choosing", alpha, prompts)
        baseline = self._answers.vitals("choosing", 0.0, prompts)
        if alpha and broken(read_rails(vitals, baseline, self._limits)):
            return vitals
        return vitals.model_copy(update={"guards": self._guards.of(alpha)})

    def scores(self, alpha: float, prompts: int) -> Sequence[float]:
        """One for each prompt, NaN where there is none; raises OverBudgetError when the time is over."""
        self._deadline.check()
        return _scores(self._answers, "choosing", self._prompts[:prompts], self._objective, alpha)


def _fresh_rails(
    alpha: float, config: SearchConfig, answers: CandidateAnswers, count: int, guards: GuardScores
) -> tuple[RailReading, ...]:
    """The rails of a choice on the confirming prompts; the guards have no fresh ones."""
    vitals, baseline = (
        answers.vitals("confirming", each, count).model_copy(update={"guards": guards.of(each)})
        for each in (alpha, 0.0)
    )
    return read_rails(vitals, baseline, config.race.limits)


def _confirm(
    alpha: float,
    answers: CandidateAnswers,
    prompts: Sequence[str],
    objective: Objective,
    second: Objective | None,
    rails: tuple[RailReading, ...],
) -> Confirmation:
    first = [_scores(answers, "confirming", prompts, objective, of) for of in (alpha, 0.0)]
    again = paired_gain((answers, alpha), (answers, 0.0), prompts, second) if second else None
    scores, zero = _with_scores(*first)
    return confirm(alpha, scores, zero, rails, again)


def paired_gain(
    candidate: tuple[CandidateAnswers, float],
    baseline: tuple[CandidateAnswers, float],
    prompts: Sequence[str],
    objective: Objective,
) -> PairedDifference:
    """Scores of one's answers at an α minus those of another, on the confirming prompts."""
    scores, other = _with_scores(
        *(
            _scores(answers, "confirming", prompts, objective, alpha)
            for answers, alpha in (candidate, baseline)
        )
    )
    return paired_difference(other, scores)


def _with_scores(scores: Sequence[float], zero: Sequence[float]) -> tuple[list[float], list[float]]:
    """The pairs of which both have a score; NaN is none."""
    pairs = [pair for pair in zip(scores, zero, strict=True) if pair[0] == pair[0] and pair[1] == pair[1]]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _scores(
    answers: CandidateAnswers, part: str, prompts: Sequence[str], objective: Objective, alpha: float
) -> list[float]:
    candidate = [answer.output for answer in answers.answers(part, alpha, len(prompts))]
    baseline = [answer.output for answer in answers.answers(part, 0.0, len(prompts))]
    scores = objective.scores(alpha, Answered(prompts, candidate, baseline))
    checked: list[float] = checked_scores(scores, len(prompts), alpha).tolist()
    return checked


def search_costs(config: SearchConfig, totals: Totals, objectives: Sequence[Objective]) -> SearchCosts:
    """What so many answers and the objectives' journals amount to."""
    usage = sum((objective.usage() for objective in objectives), Usage())
    return SearchCosts(
        answers=totals.answers,
        answer_tokens=totals.tokens,
        seconds=totals.seconds,
        judge_requests=usage.requests,
        judge_tokens=usage.prompt_tokens + usage.completion_tokens,
        dollars=dollars(config.judge, usage) if config.judge else None,
    )
