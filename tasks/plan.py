"""Stage plan: from headers alone, one shard job for each output shard. Every refusal happens here."""

from tasks.runtime.run_names import models_title
from tasks.runtime.stage import stage
from tasks.stores.open import reopen
from tasks.weights.jobs import Plan
from tasks.weights.planner import make_plans
from tasks.weights.recipe import Recipe

__all__ = ["plan"]


@stage(lambda recipes: f"plan {models_title(recipes)}")
def plan(recipes: tuple[Recipe, ...]) -> tuple[Plan, ...]:
    """One plan for each recipe; the recipes are of one pair and differ in alpha.

    Raises:
        MismatchError: the two checkpoints do not fit; every mismatch is named.
        PermanentError: a folder has changed since it was resolved.
    """
    aligned, sft = reopen(recipes[0].aligned), reopen(recipes[0].sft)
    return make_plans(recipes, aligned, sft)
