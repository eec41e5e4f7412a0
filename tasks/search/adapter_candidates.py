"""An adapter's candidates as adapters: the same factors at other scales, each of the size of the adapter.

WORK/adapters/1f0c…/   θ(α), as `expo extrapolate` writes it, by its recipe
WORK/base/             the SFT model with the adapter's tokenizer, by links
"""

from pathlib import Path

from tasks.stores.artefact import Artefact
from tasks.stores.source import Source
from tasks.weights.adapter import read_adapter
from tasks.weights.adapter_planner import is_of_tokenizer, own_side_files
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe

__all__ = ["scaled_adapter", "served_base"]


def scaled_adapter(work: Path, recipe: Recipe, aligned: Source, sft: Source) -> Path:
    """The folder of θ(α); for α = 0 that is the adapter's own.

    Raises:
        CorruptError: the adapter holds NaN or Inf, or was never trained.
    """
    if not recipe.alpha and not recipe.module_alphas:
        return aligned.folder()
    folder = work / "adapters" / recipe.fingerprint[:16]
    extrapolate(make_plan(recipe, aligned, sft), aligned, sft, Artefact(str(folder)))
    return folder


def served_base(work: Path, aligned: Source, sft: Source) -> Path:
    """The folder of the model that the adapter is served on, which asks with the same tokens as a merged one.

    That is the SFT model itself, unless the adapter brings a tokenizer of its own.
    """
    own = own_side_files(read_adapter(aligned))
    if not own:
        return sft.folder()
    folder = work / "base"
    folder.mkdir(parents=True, exist_ok=True)
    targets = {name: sft.folder() / name for name in sft.files() if not is_of_tokenizer(name)}
    targets |= {name: aligned.folder() / name for name in own}
    for name, target in targets.items():
        if not target.exists():
            continue  # of a repository's files that no model needs
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())
    return folder
