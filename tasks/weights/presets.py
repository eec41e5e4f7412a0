"""Named shapes of α: which part of it each module and layer gets.

fusionbench  the linear weights of the layers alone, attention at half: FusionBench's default for Llama
lines        growing linearly with depth, from 1/n of α in the first of n layers to α in the last, the head
             and the final norm; none in the embeddings (after LiNeS, arXiv 2410.17146)
"""

from collections.abc import Collection, Iterator

from tasks.core.errors import MismatchError
from tasks.stores.source import Source
from tasks.weights.adapter import is_adapter, read_adapter
from tasks.weights.adapter_pairing import pair_adapter
from tasks.weights.checkpoint import read_checkpoint
from tasks.weights.modules import LAYER, matches
from tasks.weights.options import ModulePreset
from tasks.weights.recipe import ModuleAlpha, Recipe

__all__ = ["changed_names", "names_of_pair", "preset_factors", "scaled", "shaped"]

_ATTENTION = ModuleAlpha(pattern="attention", alpha=0.5)
_FUSIONBENCH = (
    ModuleAlpha(pattern=r"bias$", alpha=0.0),
    ModuleAlpha(pattern="norms", alpha=0.0),
    ModuleAlpha(pattern="embeddings", alpha=0.0),
    ModuleAlpha(pattern="head", alpha=0.0),
    _ATTENTION,
)


def preset_factors(
    preset: ModulePreset, tensors: Collection[str], changed: Collection[str] | None = None
) -> tuple[ModuleAlpha, ...]:
    """The parts of α as a recipe's module alphas at α = 1; what none of them matches gets all of α.

    Args:
        tensors: the names of the checkpoint's tensors.
        changed: those of them that α is about; None: all.

    Raises:
        MismatchError: the preset is about layers or attention, and no name says where they are.
    """
    wanted = _FUSIONBENCH if preset == "fusionbench" else tuple(_growing(tensors))
    if preset == "fusionbench" and not any(matches(_ATTENTION, name) for name in tensors):
        raise MismatchError(
            f"module preset fusionbench: no tensor's name, such as {next(iter(tensors), '')}, tells that it "
            "is of attention; give --module-alpha yourself"
        )
    named = tensors if changed is None else changed
    return tuple(factor for factor in wanted if any(matches(factor, name) for name in named))


def scaled(factors: Collection[ModuleAlpha], alpha: float) -> tuple[ModuleAlpha, ...]:
    """The same at another α."""
    return tuple(factor.model_copy(update={"alpha": factor.alpha * alpha}) for factor in factors)


def shaped(recipe: Recipe, factors: Collection[ModuleAlpha], alpha: float) -> Recipe:
    """The recipe at an α whose parts go to the modules; without factors at this α everywhere."""
    changes: dict[str, object] = {"alpha": alpha}
    if factors:
        changes["module_alphas"] = scaled(factors, alpha)
    return recipe.model_copy(update=changes)


def names_of_pair(aligned: Source, sft: Source) -> tuple[str, ...]:
    """The names of the tensors that a pair's output has; raises as `read_checkpoint`."""
    return tuple(read_checkpoint(sft if is_adapter(aligned) else aligned).tensors)


def changed_names(aligned: Source, sft: Source) -> tuple[str, ...]:
    """Those that α is about: of an adapter the tensors that it changes, else all."""
    if not is_adapter(aligned):
        return names_of_pair(aligned, sft)
    pairing = pair_adapter(read_adapter(aligned), read_checkpoint(sft).tensors)
    return (*pairing.low_rank, *pairing.saved)


def _growing(tensors: Collection[str]) -> Iterator[ModuleAlpha]:
    numbers = [int(found["number"]) for name in tensors if (found := LAYER.search(name))]
    if not numbers:
        raise MismatchError(
            "module preset lines: no tensor's name has a layer's number; give --module-alpha yourself"
        )
    layers = max(numbers) + 1
    yield ModuleAlpha(pattern="embeddings", alpha=0.0)
    for number in range(layers):
        yield ModuleAlpha(pattern="", alpha=(number + 1) / layers, layers=(number, number))
