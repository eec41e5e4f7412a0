"""Names of flow runs and task runs: which model, and which α.

demo α=search · crimson-fox                    a run of the flow expo
zephyr-7b-beta α=0.1, 0.3                      a family of it
shard model.safetensors, org/name α=0.1, 0.3   a stage
"""

from collections.abc import Sequence
from typing import Literal

from tasks.comparison.arm import Arm
from tasks.core.families import find_family
from tasks.weights.recipe import Recipe

__all__ = [
    "alphas_in_short",
    "arms_title",
    "family_title",
    "model_name",
    "models_title",
    "report_name",
    "run_title",
]

NAMED = 2  # more families are counted
SEPARATOR = " · "

Alpha = float | Literal["search"]


def alphas_in_short(alphas: Sequence[Alpha]) -> str:
    """As "α=0.1, 0.3", each once, or "α=search"."""
    shown = (alpha if isinstance(alpha, str) else f"{alpha:g}" for alpha in alphas)
    return f"α={', '.join(dict.fromkeys(shown))}"


def family_title(family: str, alpha: Alpha | None, curve: Sequence[float] = ()) -> str:
    """A family with its run's α, and those of its curve; None: the α that the registry has for it."""
    return f"{family} {alphas_in_short((find_family(family).alpha if alpha is None else alpha, *curve))}"


def run_title(families: Sequence[str], alpha: Alpha | None, curve: Sequence[float], generated: str) -> str:
    """What a run is about, and the name that Prefect gave it, by which its report is found.

    generated  that name; of a run that begins again, the whole title
    """
    if len(families) <= NAMED:
        what = "; ".join(family_title(family, alpha, curve) for family in families)
    else:
        own: tuple[Alpha, ...] = () if alpha is None else (alpha,)
        alphas = alphas_in_short((*own, *curve)) if own or curve else "α of each"
        what = f"{len(families)} families {alphas}"
    return f"{what}{SEPARATOR}{report_name(generated)}"


def report_name(run: str) -> str:
    """The name that Prefect, or who started it, gave a run, out of its title."""
    return run.rpartition(SEPARATOR)[2]


def arms_title(arms: Sequence[Arm]) -> str:
    """The models of some arms, which are of one pair; the original has no α."""
    extrapolated = [arm.recipe for arm in arms if arm.name == "expo"]
    return models_title(extrapolated or [arms[0].recipe], alphas=bool(extrapolated))


def models_title(recipes: Sequence[Recipe], *, alphas: bool = True) -> str:
    """The aligned checkpoint of the recipes, which are of one pair, and their α."""
    name = model_name(recipes[0].aligned.uri)
    return f"{name} {alphas_in_short([recipe.alpha for recipe in recipes])}" if alphas else name


def model_name(place: str) -> str:
    """A checkpoint's place in short: a hub id as it is, the last part of a folder or of s3://…"""
    if place.count("/") == 1 and not place.startswith(("/", ".")):
        return place
    return place.rstrip("/").rpartition("/")[2]
