"""Stage resolve: a family becomes recipes, every revision a commit."""

from tasks.core.families import Family
from tasks.runtime.stage import stage
from tasks.stores.open import open_source
from tasks.weights.recipe import Recipe

__all__ = ["resolve"]


@stage("resolve {family.name}")
def resolve(family: Family, alphas: tuple[float, ...]) -> tuple[Recipe, ...]:
    """One recipe for each alpha, all of the same two commits.

    Raises:
        InputError: a checkpoint, or a revision of it, does not exist or is not accessible.
        RetryableError: the Hub did not answer.
    """
    aligned, sft = (open_source(uri).checkpoint for uri in family.checkpoints)
    return tuple(Recipe(aligned=aligned, sft=sft, alpha=alpha, allow=family.allow) for alpha in alphas)
