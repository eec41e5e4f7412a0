"""What decides an arm's answers: the same model has the same name, whatever α the run is about."""

from tasks.comparison.arm import Arm
from tasks.stores.source import Checkpoint
from tasks.weights.recipe import AdapterMode, ModuleAlpha, Recipe


def recipe(adapter: AdapterMode | None, sft: str = "b", **settings: object) -> Recipe:
    return Recipe.model_validate(
        {
            "aligned": Checkpoint(uri="org/aligned", commit="a" * 40),
            "sft": Checkpoint(uri="org/sft", commit=sft * 40),
            "alpha": 0.3,
            "adapter": adapter,
        }
        | settings
    )


def original(made_by: Recipe) -> str:
    return Arm(name="original", recipe=made_by).fingerprint


def test_the_original_is_one_checkpoint() -> None:
    assert original(recipe(None)) == original(recipe(None, alpha=0.5)) == original(recipe(None, sft="c"))


def test_the_original_of_an_adapter_is_its_merge() -> None:
    """So its base model counts, and α does not."""
    modules = (ModuleAlpha(pattern="mlp", alpha=2.0),)
    assert original(recipe("merge")) == original(recipe("merge", alpha=0.5, module_alphas=modules))
    assert original(recipe("merge")) != original(recipe("merge", sft="c"))
    assert original(recipe("merge")) == recipe("merge", alpha=0.0).fingerprint
    assert Arm(name="expo", recipe=recipe("merge")).fingerprint == recipe("merge").fingerprint


def test_the_original_of_fp8_weights_is_a_model_too() -> None:
    """Both arms are decoded in bf16: what the scales' rounding costs is not taken for the update's."""
    dequantized = recipe(None, dequantize=True)
    assert original(dequantized) == dequantized.model_copy(update={"alpha": 0.0}).fingerprint
    assert original(dequantized) != original(recipe(None))
