"""The manifest of an extrapolated model: it says that the model is whole, and of what it was made."""

from typing import Literal

from tasks.values import Value
from tasks.weights.receipts import InputCheck, TensorStatistics
from tasks.weights.recipe import Recipe

__all__ = ["Manifest", "ModelFile"]


class ModelFile(Value):
    """A file of the model: its name, its size in bytes and its sha256 (64 hex digits)."""

    name: str
    size: int
    sha256: str


class Manifest(Value):
    """All that is known of an extrapolated model.

    schema_version  of this description; it changes whenever a field's meaning does
    recipe          everything that decided the bytes: both parents at their commits, α, policies
    fingerprint     sha256 of the recipe
    code_version    of the program that wrote the model
    files           every other file of the model, sorted by name
    inputs          the parents' weight files; sha256 where the source states one, and then verified
    skipped         buffers that only the SFT checkpoint has, left out
    statistics      the update, tensor by tensor, in the order of the shards
    """

    schema_version: Literal[1] = 1
    recipe: Recipe
    fingerprint: str
    code_version: str
    files: tuple[ModelFile, ...]
    inputs: tuple[InputCheck, ...]
    skipped: tuple[str, ...]
    statistics: tuple[TensorStatistics, ...]
