"""The two arms of a comparison, and where the bytes of each lie."""

from pathlib import Path
from typing import Literal

from tasks.core.errors import CorruptError
from tasks.core.values import Value, fingerprint
from tasks.stores.artefact import Artefact, Store
from tasks.stores.source import reopen
from tasks.stores.work_dir import workplace
from tasks.weights.manifest import read_manifest
from tasks.weights.recipe import Recipe

__all__ = ["Arm", "ArmName", "model_artefact"]

ArmName = Literal["original", "expo"]


class Arm(Value):
    """One side of the comparison: the aligned model as it is, or extrapolated by the recipe."""

    name: ArmName
    recipe: Recipe

    @property
    def fingerprint(self) -> str:
        """Of what decides the arm's weights: for the original that is one checkpoint, whatever α."""
        return fingerprint(self.recipe.aligned) if self.name == "original" else self.recipe.fingerprint

    @property
    def label(self) -> str:
        """What tables and run names say: "original", or "expo α=0.3"."""
        return self.name if self.name == "original" else f"expo α={self.recipe.alpha:g}"

    def folder(self, store: Store) -> Path:
        """A folder of this machine that an engine can load the arm's model from."""
        if self.name == "original":
            return reopen(self.recipe.aligned).folder()
        return _local_copy(model_artefact(store, self.recipe))


def model_artefact(store: Store, recipe: Recipe) -> Artefact:
    """The extrapolated model's place in the store."""
    return store.artefact("models", recipe.fingerprint[:16])


def _local_copy(artefact: Artefact) -> Path:
    content = artefact.manifest()
    if content is None:
        raise CorruptError(f"{artefact.uri}: no manifest, so there is no whole model; extrapolate first")
    folder = workplace(artefact)
    for file in read_manifest(content).files:
        here = folder / file.name
        if not (here.exists() and here.stat().st_size == file.size):
            artefact.fetch(file.name, folder)
    return folder
