"""Stage search_alpha: the α of a pair, raced for on held-out prompts in one engine, or none."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext

from tasks.benchmarks.registry import is_benchmark
from tasks.comparison.asked_prompts import asked_prompts
from tasks.comparison.instructions import local_file
from tasks.core.errors import CorruptError, InputError, OverBudgetError
from tasks.core.providers import provider_of
from tasks.generation.devices import gpus_of
from tasks.generation.interpreter import engine_name, engine_python
from tasks.generation.settings import GenerationSettings
from tasks.reports.html import render_race
from tasks.runtime.limits import hold_engine
from tasks.runtime.progress import Progress, run_logger
from tasks.runtime.recorder import begin_work
from tasks.runtime.stage import stage
from tasks.runtime.steps import run_step
from tasks.search.answering import CandidateAnswers, Totals
from tasks.search.by_module import ModuleSteps, modules_of
from tasks.search.deadline import Deadline
from tasks.search.estimate import describe_estimate
from tasks.search.found import SEARCHES
from tasks.search.guard_rail import GuardScores, open_guards, part_of
from tasks.search.held_out import HeldOut, known_evaluations, read_prompts, split, with_prompts
from tasks.search.objectives import open_objective
from tasks.search.racing import Play, Standing
from tasks.search.report import race_summary
from tasks.search.result import SearchResult, describe
from tasks.search.run import run_search, search_costs
from tasks.search.scoring import Objective
from tasks.search.search_config import (
    CHECKED_ANSWERS,
    SearchConfig,
    answers_left,
    expected_answers,
    search_fingerprint,
)
from tasks.search.tables import render_search, standings_markdown
from tasks.search.ultrafeedback import ULTRAFEEDBACK, ultrafeedback_prompts
from tasks.stores.artefact import Store
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import reopen
from tasks.weights.extrapolation import extrapolate
from tasks.weights.folder import local_copy, model_artefact
from tasks.weights.planner import make_plan
from tasks.weights.presets import changed_names, names_of_pair, preset_factors, shaped
from tasks.weights.recipe import Recipe
from tasks.weights.verify import verify

__all__ = ["estimate_search", "search_alpha"]

MARKDOWN, PAGE = "search.md", "search.html"


@stage("search α of {recipe.aligned.uri}")
def search_alpha(
    recipe: Recipe,
    prompts: str,
    evaluations: tuple[str, ...],
    settings: GenerationSettings,
    config: SearchConfig,
    store: str,
    on_round: Callable[[Sequence[Standing]], None] | None = None,
) -> SearchResult:
    """Finds the α of a pair, or none; the result is an artefact, sealed by everything that decided it.

    A killed search continues behind its last batch of answers and its last judgment. The choice
    is written into the store, verified, and answers once from its files before it is returned.
    Where a limit ends the search, or its steps over modules, the artefact has its page so far and no
    manifest.

    Args:
        recipe: of the pair, at whatever α.
        prompts: a file of held-out prompts, a uri of the family's provider, or "ultrafeedback".
        evaluations: questions of the family and of the run, whose prompts are refused as those of the
            known sets, of the rails' guards and of every benchmark whose data is on this machine are.
        on_round: gets the standings after each round, beside the log.

    Raises:
        InputError: prompts of an evaluation set, or too few; an objective that does not exist.
        CorruptError: the written model does not answer as the search's engine did.
        RetryableError: the engine died; the next try goes on.
    """
    held_out = _held_out(prompts, evaluations, config)
    name = search_fingerprint(recipe, config, settings, held_out, engine_name())
    artefact = Store(store).artefact(SEARCHES, name[:16])
    if (found := artefact.manifest()) is not None:
        return SearchResult.model_validate_json(found)
    run_logger().info(describe_estimate(config, held_out, settings))
    result = _search(recipe, held_out, settings, config, Store(store), name, on_round)
    run_logger().info(describe(result))
    artefact.write(MARKDOWN, render_search(result).encode())
    artefact.write(PAGE, render_race(race_summary(result), result.aligned, result.sft).encode())
    run_logger().info(f"the race: {artefact.uri}/{PAGE}")
    unexplored = config.by_module and result.alpha is not None and result.by_module is None
    if result.stopped or unexplored:
        return result
    artefact.seal(result.model_dump_json(indent=1).encode())
    return result


def _search(
    recipe: Recipe,
    held_out: HeldOut,
    settings: GenerationSettings,
    config: SearchConfig,
    store: Store,
    name: str,
    on_round: Callable[[Sequence[Standing]], None] | None,
) -> SearchResult:
    """The race and the confirmation in one engine; the choice is written while the engine can be compared."""
    work = store.artefact(SEARCHES, name[:16]).work_dir()
    aligned, sft = reopen(recipe.aligned), reopen(recipe.sft)
    progress = Progress(expected_answers(config, held_out), "answers")
    deadline = Deadline(config.max_minutes)

    def advance(count: int) -> None:
        progress.advance(count)
        deadline.check()  # ends the engine in the middle of a batch, if need be

    # what can be refused is, before anything is served or downloaded for it
    changed = changed_names(aligned, sft)
    shape = preset_factors(config.preset, names_of_pair(aligned, sft), changed) if config.preset else ()
    if config.by_module and len(modules_of(changed)) < 2:
        (module,) = modules_of(changed)
        raise InputError(
            f"by_module: the update is of {module} alone, so its α is the search's; leave it out"
        )
    guards = open_guards(config.guards, config.guard_items)
    with ExitStack() as stack:
        stack.enter_context(hold_engine(gpus_of(settings)))
        begin_work()
        scoring = partial(open_objective, advance=lambda _: deadline.check())
        objective = stack.enter_context(scoring(config.objective, work / "objective"))
        second = stack.enter_context(scoring(config.second, work / "second")) if config.second else None
        open_answers = partial(
            CandidateAnswers,
            recipe=recipe,
            aligned=aligned,
            sft=sft,
            settings=config.settings(settings),
            prompts=held_out,
            guards={part_of(guard): rail.prompts for guard, rail in guards.items()},
            advance=advance,
            say=run_logger().warning,
            python=engine_python(),
        )
        with open_answers(work, recipe_at=partial(shaped, recipe, shape)) as answers:
            scores = GuardScores(guards, work, answers.answers)
            play_round = partial(_play_round, progress, held_out, on_round)
            result = run_search(
                recipe, config, answers, held_out, objective, second, scores, name, play_round, deadline
            )
        # of an adapter: as it was served, which may be merged where the recipe would scale it
        recipe = recipe.model_copy(update={"adapter": answers.adapter})
        open_answers = partial(open_answers, recipe=recipe)
        if config.by_module and result.alpha is not None:
            steps = ModuleSteps(
                work, recipe, changed, config, held_out, objective, guards, deadline, open_answers
            )
            result = _explore(steps, result, config, [scorer for scorer in (objective, second) if scorer])
        deadline.lift()
        if result.alpha is not None:
            with open_answers(work, recipe_at=partial(shaped, recipe, shape)) as answers:
                _check_written(shaped(recipe, shape, result.alpha), answers, held_out, store)
    return result


def _explore(
    steps: ModuleSteps, result: SearchResult, config: SearchConfig, objectives: Sequence[Objective]
) -> SearchResult:
    """With what modules want, unless a limit ends the exploration: the search itself is done by then."""
    assert result.alpha is not None
    found = None
    try:
        found = steps.explore(result.alpha)
    except OverBudgetError as error:
        run_logger().warning(
            f"by module: {error}; the result is without it, and the same search goes on from here"
        )
    costs = result.costs
    totals = Totals(costs.answers, costs.answer_tokens, costs.seconds).plus(steps.totals)
    return result.model_copy(update={"by_module": found, "costs": search_costs(config, totals, objectives)})


def _held_out(prompts: str, evaluations: tuple[str, ...], config: SearchConfig) -> HeldOut:
    asked = asked_prompts((*evaluations, *filter(is_benchmark, config.guards)))
    refused = with_prompts(known_evaluations(), asked)
    if prompts == ULTRAFEEDBACK:
        found = ultrafeedback_prompts(refused)
    else:
        found = read_prompts(local_file(prompts) if provider_of(prompts) else Path(prompts).expanduser())
    return split(found, refused, choosing=config.choosing, confirming=config.confirming)


def estimate_search(
    prompts: str, evaluations: tuple[str, ...], settings: GenerationSettings, config: SearchConfig
) -> str:
    """What a search will take at most, in words: answers, tokens, the judge's requests and their price.

    Raises:
        InputError: as `search_alpha`, for the prompts.
    """
    return describe_estimate(config, _held_out(prompts, evaluations, config), settings)


def _play_round(
    progress: Progress,
    prompts: HeldOut,
    on_round: Callable[[Sequence[Standing]], None] | None,
    count: int,
    play: Play,
) -> None:
    """A round as a task run; the race after it in the log, as an artifact of the run, and to the caller."""
    standings = run_step("race-round", f"round of {count} prompts", play)
    progress.expect(answers_left(standings, prompts))
    running = [f"{standing.alpha:g}" for standing in standings if standing.fate == "tied with the best"]
    run_logger().info(f"after {count} prompts α {', '.join(running)} cannot be distinguished from the best")
    if FlowRunContext.get():
        create_markdown_artifact(standings_markdown(standings), key="expo-search-race")
    if on_round:
        on_round(standings)


def _check_written(chosen: Recipe, answers: CandidateAnswers, prompts: HeldOut, store: Store) -> None:
    """Writes the choice, verifies it, and compares a batch of its answers with those of the search."""
    alpha, aligned, sft = chosen.alpha, reopen(chosen.aligned), reopen(chosen.sft)
    model = model_artefact(store, chosen)
    if model.manifest() is None:
        extrapolate(make_plan(chosen, aligned, sft), aligned, sft, model)
    folder = local_copy(model)
    if differences := verify(FolderSource(folder), reopen).differences:
        raise CorruptError(f"{model.uri}: {differences[0].message}; remove it and search again")
    count = min(CHECKED_ANSWERS, len(prompts.confirming))
    if answers.of_files(folder, alpha, count) != answers.answers("confirming", alpha, count):
        raise CorruptError(
            f"{model.uri}: its files do not answer as θ({alpha:g}) did in the search's engine, so the search "
            f"has measured something else; please report it, with the architecture of {chosen.aligned.uri}"
        )
