"""The two arms of a comparison, and where the bytes of each lie."""

from pathlib import Path
from typing import Literal

from tasks.core.values import Value, fingerprint
from tasks.stores.artefact import Store
from tasks.stores.open import reopen
from tasks.weights.folder import local_copy, model_artefact
from tasks.weights.recipe import Recipe

__all__ = ["Arm", "ArmName"]

ArmName = Literal["original", "expo"]


class Arm(Value):
    """One side of the comparison: the aligned model as it is, or extrapolated by the recipe."""

    name: ArmName
    recipe: Recipe

    @property
    def is_made(self) -> bool:
        """Whether a run writes its model; the original of most families is a checkpoint as it is."""
        return self.name == "expo" or bool(self.recipe.adapter) or self.recipe.dequantize

    @property
    def fingerprint(self) -> str:
        """Of what decides the arm's weights: for the original that is one checkpoint, whatever α."""
        if not self.is_made:
            return fingerprint(self.recipe.aligned)
        return self.model_recipe.fingerprint

    @property
    def model_recipe(self) -> Recipe:
        """Of the model that the arm answers with; an original that is made has α = 0."""
        if self.name == "expo":
            return self.recipe
        return self.recipe.model_copy(update={"alpha": 0.0, "module_alphas": ()})

    @property
    def label(self) -> str:
        """The arm's name in tables and run names: "original", or "expo α=0.3"."""
        return self.name if self.name == "original" else f"expo α={self.recipe.alpha:g}"

    def folder(self, store: Store) -> Path:
        """A folder of this machine that an engine can load the arm's model from."""
        if not self.is_made:
            return reopen(self.recipe.aligned).folder()
        return local_copy(model_artefact(store, self.model_recipe))
