"""Stage resolve: a family becomes recipes, every revision a commit."""

from tasks.core.families import Family
from tasks.runtime.run_names import alphas_in_short
from tasks.runtime.stage import stage
from tasks.weights.adapter import is_adapter
from tasks.weights.adapter_base import adapter_mode, open_parents
from tasks.weights.recipe import Recipe

__all__ = ["resolve"]


@stage(lambda family, alphas: f"resolve {family.name} {alphas_in_short(alphas)}")
def resolve(
    family: Family, alphas: tuple[float, ...], dequantize: bool = False, merge: bool = True
) -> tuple[Recipe, ...]:
    """One recipe for each alpha, all of the same two commits.

    Args:
        dequantize: as the recipe's.
        merge: whether an aligned adapter is merged, so that both arms are whole models that the same code
            decodes; else it stays an adapter where another scale of it is exact.

    Raises:
        InputError: a checkpoint, or a revision of it, does not exist or is not accessible.
        RetryableError: the Hub did not answer.
    """
    aligned, sft = open_parents(*family.checkpoints)
    mode = adapter_mode(aligned, merge=merge and is_adapter(aligned))
    recipe = Recipe(
        aligned=aligned.checkpoint,
        sft=sft.checkpoint,
        alpha=alphas[0],
        allow=family.allow,
        dequantize=dequantize,
        adapter=mode,
    )
    return tuple(recipe.model_copy(update={"alpha": alpha}) for alpha in alphas)
