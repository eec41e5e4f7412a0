"""Flow "expo-family": one family, from two checkpoints to a verdict."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from prefect import flow
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.parameters import BenchmarkName, FamilyName, Rejudge, default_store
from flows.shards import run_shards
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.serving import demo_judge
from tasks.comparison.arm import Arm, ArmName
from tasks.comparison.decoding import GenerationConfig, reseeded, settings_of
from tasks.comparison.judge_session import within_budget
from tasks.core.errors import InputError
from tasks.core.families import Family
from tasks.core.families import family as find
from tasks.family_run import tells_parent
from tasks.generate import generate
from tasks.generation.settings import GenerationSettings
from tasks.instructions import ALPACA_EVAL, MT_BENCH, Instructions, instructions
from tasks.judge import Judgments
from tasks.judge import judge as judge_arm
from tasks.plan import plan
from tasks.publish import publish
from tasks.publishing.publication import repository_of
from tasks.publishing.repository import prepare_repository
from tasks.resolve import resolve
from tasks.seal import seal
from tasks.stores.artefact import Store
from tasks.verdict import verdict
from tasks.weights.folder import model_artefact
from tasks.weights.inputs import InputMode
from tasks.weights.recipe import Recipe

__all__ = ["expo_family", "find_judge"]


RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=4)


@flow(name="expo-family", flow_run_name="{family}", task_runner=RUNNER)
@tells_parent
def expo_family(
    family: FamilyName,
    alpha: float | None = None,
    curve: tuple[float, ...] = (),
    arms: tuple[ArmName, ...] = ("original", "expo"),
    benchmarks: tuple[BenchmarkName, ...] = ("alpaca_eval",),
    judge: Judge | None = None,
    store: str | None = None,
    inputs: InputMode = "download",
    publish_to: str | None = None,
    rejudge: Rejudge | None = None,
    generation: GenerationConfig = GenerationConfig(),  # noqa: B008 - a frozen value
) -> str | None:
    """Extrapolates a family, lets both arms answer the benchmark, has them judged, and decides.

    Args:
        family: A name of the registry.
        alpha: In place of the family's own.
        curve: More values of α, each against the original on held-out instructions.
        arms: "original", "expo", or both; only both make a verdict.
        benchmarks: "alpaca_eval", "mt_bench", or both; none of them extrapolates only.
        judge: Who judges the answers. A family that brings its own judge keeps it.
        store: A folder or s3://bucket/prefix; None: $EXPO_STORE.
        inputs: "stream" reads the checkpoints' weights by ranges as they are needed: no disk for
            them, and no sha256 of a file that is not read whole. An engine still downloads its model.
        publish_to: Where on the Hugging Face Hub the model goes, privately, with its card: org/name,
            or a namespace. None: nothing is uploaded.
        rejudge: "failed" asks once more for the items that finished judgings have no judgment of.
        generation: How the answers are made: by an endpoint in place of an engine of our own, with
            several seeds, with an A/A run for the noise band.

    Returns:
        The uri of the family's report in the store; None without a benchmark.
    """
    entry, store = find(family), Store(store or default_store()).uri
    alphas = tuple(dict.fromkeys((entry.alpha if alpha is None else alpha, *curve)))
    if not benchmarks:
        recipes = resolve(entry, alphas)
        target = _target(entry, recipes[0], publish_to)
        extrapolate_models(recipes, store, inputs)
        if target:
            publish(recipes[0], target, None, store)
        return None
    judge, held_out = find_judge(entry, judge, benchmarks), _held_out(entry) if curve else None
    recipes = resolve(entry, alphas)
    target = _target(entry, recipes[0], publish_to)
    asked = [instructions(_instructions_of(entry, benchmark)) for benchmark in benchmarks]
    aside = instructions(held_out) if held_out else None
    seeds = {name: generation.seeds_of(name) for name in arms}
    judged_often = asked * sum(map(len, seeds.values()))
    judges = within_budget(judge, [*judged_often, *([aside] * len(alphas) if aside else [])])

    both = [Arm(name=name, recipe=recipes[0]) for name in ("original", "expo") if name in arms]
    answers = []
    for arm in both:
        if arm.name == "expo":  # the original is answering while the shards are written
            extrapolate_models(recipes, store, inputs)
        for one, number in product(asked, seeds[arm.name]):
            what = f"{one.benchmark} {arm.name}" + (f", seed {number + 1}" if number else "")
            settings = reseeded(settings_of(entry, one.benchmark), number)
            answers.append((one, generate.submit(what, (arm,), one, settings, store, generation.endpoint)))
    if aside or target:
        extrapolate_models(recipes, store, inputs)  # where the arm expo is left out
    points = _alpha_curve(recipes, aside, settings_of(entry), judges[aside], store) if aside else ()
    judged = [
        judge_arm.submit(answer.result()[0], one, judges[one], store, rejudge == "failed")
        for one, answer in answers
    ]
    told = verdict(entry, recipes[0], tuple(future.result() for future in judged), points, store)
    if target:
        publish(recipes[0], target, told, store)
    return told


def find_judge(family: Family, judge: Judge | None, benchmarks: Sequence[BenchmarkName]) -> Judge:
    """The judge of a family's answers: its own, or the run's.

    Raises:
        InputError: the family brings none and the run names none, or its own does not know a benchmark.
    """
    if family.judge:
        if MT_BENCH in benchmarks:
            raise InputError(f"{family.name}: its judge is a rule that rates nothing; leave {MT_BENCH} out")
        return demo_judge()
    if judge is None:
        raise InputError(
            f"{family.name}: no judge; give one (its model, and base_url for an endpoint of your own), "
            "or no benchmarks to extrapolate only"
        )
    return judge


def _target(family: Family, recipe: Recipe, publish_to: str | None) -> str | None:
    """The repository to publish to, made and looked at before anything is spent."""
    if publish_to is None:
        return None
    repo_id = repository_of(publish_to, family.aligned)
    prepare_repository(repo_id, recipe.fingerprint)
    return repo_id


def extrapolate_models(recipes: Sequence[Recipe], store: str, inputs: InputMode = "download") -> None:
    """Writes the models that the store does not have yet: one task for each output shard."""
    todo = tuple(one for one in recipes if model_artefact(Store(store), one).manifest() is None)
    if not todo:
        return
    plans = plan(todo)
    for one, of_model in zip(plans, run_shards(plans, store, inputs), strict=True):
        seal(one, of_model, store)


def _alpha_curve(
    recipes: Sequence[Recipe], asked: Instructions, settings: GenerationSettings, judge: Judge, store: str
) -> tuple[Judgments, ...]:
    """+ ExPO at each α against the original, on instructions that the benchmark does not ask."""
    rising = sorted(recipes, key=lambda recipe: recipe.alpha)
    arms = (Arm(name="original", recipe=recipes[0]), *(Arm(name="expo", recipe=one) for one in rising))
    original, *answers = generate("α curve", arms, asked, settings, store)
    judged = [judge_arm.submit(one, original, judge, store) for one in answers]
    return tuple(future.result() for future in judged)


def _instructions_of(family: Family, benchmark: BenchmarkName) -> str:
    return (family.instructions or ALPACA_EVAL) if benchmark == ALPACA_EVAL else benchmark


def _held_out(family: Family) -> str:
    if family.alpha_instructions is None:
        raise InputError(
            f"{family.name}: an α curve needs held-out instructions, and the registry has none for it; "
            "leave `curve` out (the benchmark's own instructions may not choose α)"
        )
    return family.alpha_instructions
