"""Names of runs say which family and which α, in every way that α is given."""

from types import SimpleNamespace

import pytest
from prefect._internal.engine import resolve_custom_flow_run_name, resolve_custom_task_run_name

from flows.expo import expo
from flows.family import expo_family
from flows.search import expo_search
from tasks.comparison.arm import Arm
from tasks.comparison.run_config import RunConfig
from tasks.core.families import find_family
from tasks.family_run import family_run
from tasks.generate import generate
from tasks.plan import plan
from tasks.resolve import resolve
from tasks.runtime.run_names import report_name, run_title
from tasks.shard import shard
from tasks.stores.source import Checkpoint
from tasks.weights.jobs import ShardJob
from tasks.weights.recipe import Recipe

OWN = f"{find_family('zephyr-7b-beta').alpha:g}"


@pytest.mark.parametrize(
    ("families", "alpha", "curve", "title"),
    [
        (["demo"], 0.5, (), "demo α=0.5 · crimson-fox"),
        (["demo"], "search", (), "demo α=search · crimson-fox"),
        (["zephyr-7b-beta"], None, (0.3, 1.0), f"zephyr-7b-beta α={OWN}, 0.3, 1 · crimson-fox"),
        (["demo", "zephyr-7b-beta"], 0.3, (0.3,), "demo α=0.3; zephyr-7b-beta α=0.3 · crimson-fox"),
        (["a", "b", "c"], None, (), "3 families α of each · crimson-fox"),
        (["a", "b", "c"], "search", (), "3 families α=search · crimson-fox"),
    ],
)
def test_a_run_says_its_families_and_alphas(
    families: list[str], alpha: float | None, curve: tuple[float, ...], title: str
) -> None:
    assert run_title(families, alpha, curve, "crimson-fox") == title
    assert run_title(families, alpha, curve, title) == title, "a run that begins again"
    assert report_name(title) == "crimson-fox"


def test_flows_are_named_by_their_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(flow: object, module: str, **given: object) -> str:
        monkeypatch.setattr(f"{module}.flow_run", SimpleNamespace(name="crimson-fox", parameters=given))
        return resolve_custom_flow_run_name(flow, given)  # type: ignore[arg-type]

    assert name(expo, "flows.expo", families=("demo",), alpha=0.5) == "demo α=0.5 · crimson-fox"
    assert name(expo, "flows.expo") == "12 families α of each · crimson-fox"
    config = RunConfig(alpha="search", curve=(0.1,))
    assert name(expo_family, "flows.family", family="demo", config=config) == "demo α=search, 0.1"
    assert name(expo_family, "flows.family", family="zephyr-7b-beta") == f"zephyr-7b-beta α={OWN}"
    assert name(expo_search, "flows.search", family="demo", aligned=None) == "demo α=search"
    assert name(expo_search, "flows.search", family=None, aligned="/models/mine") == "mine α=search"


def test_stages_are_named_by_model_and_alphas() -> None:
    recipe = Recipe(
        aligned=Checkpoint(uri="org/name", commit="1"), sft=Checkpoint(uri="org/sft", commit="2"), alpha=0.1
    )
    recipes = (recipe, recipe.model_copy(update={"alpha": 0.3}))
    jobs = tuple(
        ShardJob(recipe=recipe, file="model.safetensors", tensors=(), aligned_files=(), sft_files=(), bytes=8)
        for recipe in recipes
    )
    original, extrapolated = (Arm(name=name, recipe=recipe) for name in ("original", "expo"))

    def name(task: object, **given: object) -> str:
        return resolve_custom_task_run_name(task, given)  # type: ignore[arg-type]

    assert name(plan, recipes=recipes) == "plan org/name α=0.1, 0.3"
    assert name(shard, jobs=jobs, store="s") == "shard model.safetensors, org/name α=0.1, 0.3"
    assert name(resolve, family=find_family("demo"), alphas=(0.1, 0.3)) == "resolve demo α=0.1, 0.3"
    assert name(family_run, family="demo", config=RunConfig(alpha="search")) == "family demo α=search"
    assert (
        name(generate, what="mt_bench expo", arms=(extrapolated,)) == "generate mt_bench expo, org/name α=0.1"
    )
    assert (
        name(generate, what="mt_bench original", arms=(original,)) == "generate mt_bench original, org/name"
    )
