"""Flow "expo-family": one family, from two checkpoints to a verdict."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.parameters import FamilyName, default_store
from flows.questions import find_questions, held_out_uri, searched_beside
from flows.search import search_family
from flows.shards import run_shards
from tasks.benchmarks.budget import describe_usage
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import find_benchmark
from tasks.comparison.arm import Arm, ArmName
from tasks.comparison.decoding import GenerationConfig, reseeded, settings_of
from tasks.comparison.guards import Guard, guards_of_run
from tasks.comparison.instructions import Instructions, asked_benchmarks
from tasks.comparison.judge_session import within_budget
from tasks.comparison.judges import find_judges
from tasks.comparison.results import Generation, Judgments
from tasks.comparison.run_config import RunConfig
from tasks.core.families import Family, find_family
from tasks.core.providers import unmade
from tasks.core.worker import check_root
from tasks.generate import generate
from tasks.generation.settings import GenerationSettings
from tasks.judge import judge as judge_arm
from tasks.make_checkpoints import make_checkpoints
from tasks.plan import plan
from tasks.publish import publish
from tasks.publishing.publication import repository_of
from tasks.publishing.repository import prepare_repository
from tasks.resolve import resolve
from tasks.runtime.judging import reports_overspending
from tasks.runtime.outcome import publishes_outcome
from tasks.runtime.progress import run_logger
from tasks.runtime.run_names import family_title
from tasks.seal import seal
from tasks.search.result import SearchResult
from tasks.stores.artefact import Store
from tasks.verdict import verdict
from tasks.weights.folder import model_artefact
from tasks.weights.inputs import InputMode
from tasks.weights.recipe import Recipe

__all__ = ["expo_family"]


class _Submitted(NamedTuple):
    """The answers of one arm to one benchmark with one seed, in the making."""

    asked: Instructions
    arm: ArmName
    number: int
    future: PrefectFuture[Any]


RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=4)
JUDGINGS = 4  # at once, on threads of their own: generations that wait for an engine keep none waiting


def _run_name() -> str:
    given = dict(flow_run.parameters)
    config = given.get("config") or RunConfig()
    return family_title(given["family"], config.alpha, config.curve)


@flow(name="expo-family", flow_run_name=_run_name, task_runner=RUNNER)
@publishes_outcome
def expo_family(family: FamilyName, config: RunConfig = RunConfig()) -> str | None:  # noqa: B008 - frozen
    """Extrapolates a family, lets both arms answer the benchmarks, has them judged, and decides.

    Args:
        family: A name of the registry.
        config: What to do with it, as the parameters of the flow expo say.

    Returns:
        The uri of the family's report in the store; None without a benchmark.
    """
    entry, store = find_family(family), Store(config.store or default_store()).uri
    check_root("store", store)
    benchmarks = asked_benchmarks(config.benchmarks, config.prompts)
    guards = guards_of_run(config.guards, benchmarks)
    find_judges(entry, config.judge, [*benchmarks, *(guard.name for guard in guards)])
    held_out_uri(entry, config)  # a curve that has nothing to ask is refused here
    if unmade(entry):
        make_checkpoints(entry)
    found = _searched(entry, config, store)
    if found and found.alpha is None:
        return verdict(entry, resolve(entry, (0.0,))[0], (), (), store, found)
    alphas = _alphas(entry, config, found)
    if not benchmarks:
        _extrapolate_only(entry, alphas, config, store)
        return None
    recipes = resolve(entry, alphas, config.dequantize)
    target = _target(entry, recipes[0], config.publish_to)
    questions = find_questions(entry, config)
    asked, guarding, held_out = questions
    judges = _judges(entry, config.judge, questions.judgings(config, len(alphas)))

    if Arm(name="original", recipe=recipes[0]).is_made:  # one pass makes the models of both arms
        extrapolate_models(models_of_arms(recipes), store, config.inputs)
    answers = _submit_answers(entry, recipes, asked, guarding, config, store)
    if config.generation.endpoint:  # an arm with too few answers is refused before the judge is paid
        for submitted in answers:
            submitted.future.result()
    if held_out or target:
        extrapolate_models(recipes, store, config.inputs)  # where the arm expo is left out
    points = _alpha_curve(recipes, held_out, settings_of(entry), judges[held_out], store) if held_out else ()
    results = _judge_answers(answers, judges, config, store)
    report_uri = verdict(entry, recipes[0], results, points, store, found, _margins(guards, guarding))
    if target:
        publish(recipes[0], target, report_uri, store)
    return report_uri


def _searched(family: Family, config: RunConfig, store: str) -> SearchResult | None:
    """The search of the run for α, None where it is given one; what cannot be asked is refused before it."""
    if config.alpha != "search":
        return None
    find_questions(family, config)
    return search_family(family, config.search, config.judge, searched_beside(family, config), store)


def _submit_answers(
    family: Family,
    recipes: Sequence[Recipe],
    asked: Sequence[Instructions],
    guarding: Sequence[Instructions],
    config: RunConfig,
    store: str,
) -> list[_Submitted]:
    """Starts each arm on each benchmark, once a seed; the original answers while the shards are written.

    Guards are decoded greedily, so that one generation of an arm is enough.
    """
    answers: list[_Submitted] = []
    for arm in (Arm(name=name, recipe=recipes[0]) for name in ("original", "expo") if name in config.arms):
        if arm.name == "expo":
            extrapolate_models(recipes, store, config.inputs)
        seeds = config.generation.seeds_of(arm.name)
        for questions, number in [*product(asked, seeds), *product(guarding, seeds[:1])]:
            what = f"{questions.benchmark} {arm.name}" + (f", seed {number + 1}" if number else "")
            settings = reseeded(settings_of(family, questions.benchmark), number)
            endpoint, max_failed = config.generation.endpoint, config.generation.max_failed
            answer = generate.submit(what, (arm,), questions, settings, store, endpoint, max_failed)
            answers.append(_Submitted(questions, arm.name, number, answer))
    return answers


def _judge_answers(
    answers: Sequence[_Submitted], judges: Mapping[Instructions, Judge], config: RunConfig, store: str
) -> tuple[Judgments, ...]:
    """Has each generation judged as soon as it is there, while the later ones are still being made."""
    threads: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=JUDGINGS)
    with threads as runner:
        judged = [
            runner.submit(
                judge_arm,
                {
                    "generation": submitted.future.result()[0],
                    "reference": _judged_against(submitted, answers, config.generation),
                    "judge": judges[submitted.asked],
                    "store": store,
                    "rejudge_failed": config.rejudge == "failed",
                },
            )
            for submitted in answers
        ]
        return tuple(future.result() for future in judged)


def _margins(guards: Sequence[Guard], guarding: Sequence[Instructions]) -> dict[str, float]:
    """The points that may be lost of each guard, by what is asked of it."""
    return {
        guard.name: guard.margin_of(questions.count, questions.total or questions.count)
        for guard, questions in zip(guards, guarding, strict=True)
    }


def _judged_against(
    submitted: _Submitted, answers: Sequence[_Submitted], generation: GenerationConfig
) -> Instructions | Generation:
    """A benchmark's reference, or the original's answers with the same seed: of its noise run, its first."""
    if not find_benchmark(submitted.asked.benchmark).against_original:
        return submitted.asked
    seeds = generation.seeds_of("expo")
    number = submitted.number if submitted.number in seeds else seeds[0]
    original = next(other for other in answers if other[:3] == (submitted.asked, "original", number))
    found: Generation = original.future.result()[0]
    return found


def _alphas(family: Family, config: RunConfig, found: SearchResult | None) -> tuple[float, ...]:
    """What the search found, or the run's α, or the family's; then those of the curve, each once."""
    alpha = found.alpha if found else config.alpha
    first = family.alpha if alpha is None or alpha == "search" else alpha
    return tuple(dict.fromkeys((first, *config.curve)))


def _extrapolate_only(family: Family, alphas: tuple[float, ...], config: RunConfig, store: str) -> None:
    recipes = resolve(family, alphas, config.dequantize)
    target = _target(family, recipes[0], config.publish_to)
    extrapolate_models(recipes, store, config.inputs)
    if target:
        publish(recipes[0], target, None, store)


def _judges(
    family: Family, judge: Judge | None, judgings: Sequence[Instructions]
) -> dict[Instructions, Judge]:
    """The judge of each judging, with its share of the run's limits; logs what they will be used for."""
    by_benchmark = find_judges(family, judge, [asked.benchmark for asked in judgings])
    with reports_overspending(judge.model if judge else family.name):
        judges, usages = within_budget(by_benchmark, judgings)
    for used, usage in usages.items():
        if not used.is_rule:
            run_logger().info(f"{used.model} will judge: {describe_usage(used, usage)}")
    return judges


def _target(family: Family, recipe: Recipe, publish_to: str | None) -> str | None:
    """The repository to publish to, made and looked at before anything is spent."""
    if publish_to is None:
        return None
    repo_id = repository_of(publish_to, family.aligned)
    prepare_repository(repo_id, recipe.fingerprint)
    return repo_id


def extrapolate_models(recipes: Sequence[Recipe], store: str, inputs: InputMode = "download") -> None:
    """Writes the models that the store does not have yet: one task for each output shard."""
    todo = tuple(recipe for recipe in recipes if model_artefact(Store(store), recipe).manifest() is None)
    if not todo:
        return
    plans = plan(todo)
    for model_plan, receipts in zip(plans, run_shards(plans, store, inputs), strict=True):
        seal(model_plan, receipts, store)


def models_of_arms(recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """What is written for both arms: of an adapter, and of fp8 weights, the original model as well."""
    original = Arm(name="original", recipe=recipes[0])
    return tuple(dict.fromkeys((original.model_recipe, *recipes))) if original.is_made else tuple(recipes)


def _alpha_curve(
    recipes: Sequence[Recipe], asked: Instructions, settings: GenerationSettings, judge: Judge, store: str
) -> tuple[Judgments, ...]:
    """+ ExPO at each α against the original, on instructions that the benchmark does not ask."""
    rising = sorted(recipes, key=lambda recipe: recipe.alpha)
    arms = (Arm(name="original", recipe=recipes[0]), *(Arm(name="expo", recipe=recipe) for recipe in rising))
    original, *answers = generate("α curve", arms, asked, settings, store)
    judged = [judge_arm.submit(answer, original, judge, store) for answer in answers]
    return tuple(future.result() for future in judged)
