"""How two checkpoints are combined, apart from α: the settings that `check` and `extrapolate` share."""

from pydantic import Field

from tasks.core.values import Value
from tasks.weights.adapter_base import adapter_mode
from tasks.weights.options import Arithmetic, Extra, ModulePreset, Nonfinite, OutputDtype, Vocabulary
from tasks.weights.pass_options import Parents
from tasks.weights.presets import changed_names, names_of_pair, preset_factors, scaled
from tasks.weights.recipe import ModuleAlpha, Recipe

__all__ = ["PairSettings"]


class PairSettings(Value):
    """How two checkpoints are combined; the defaults refuse whatever does not fit.

    dtype          of the output: "bfloat16", "float16" or "float32"; None: as the aligned side
    module_alphas  another α for some modules or layers; the first that matches a tensor decides
    preset         a named shape of α, behind the module alphas: see `tasks.weights.presets`
    arithmetic     "fp32": one rounding to the output's dtype; "parity": the authors' bf16 operations
    vocabulary     rows of other tokens: "error", "common-rows" (pair those of equal tokens), or
                   "by-position" (pair them as they stand)
    extra          parameters of one side alone: "error", or "aligned" (copy the aligned side's, leave out
                   the SFT side's)
    allow          fields of config.json that may differ although they change what weights mean
    dequantize     whether fp8 weights are multiplied by their scales; what is written is bf16
    nonfinite      NaN or Inf in a parent: "error", or "allow" (count them)
    shard_bytes    of an output shard; None: the aligned checkpoint's layout
    merge          of an adapter: write the whole model in place of the adapter at another scale
    """

    dtype: OutputDtype | None = None
    module_alphas: tuple[ModuleAlpha, ...] = ()
    preset: ModulePreset | None = None
    arithmetic: Arithmetic = "fp32"
    vocabulary: Vocabulary = "error"
    extra: Extra = "error"
    allow: tuple[str, ...] = ()
    dequantize: bool = False
    nonfinite: Nonfinite = "error"
    shard_bytes: int | None = Field(default=None, gt=0)
    merge: bool = False

    def recipe(self, parents: Parents, alpha: float) -> Recipe:
        """The recipe of this pair at this α.

        Raises:
            InputError: `merge` was asked of a whole checkpoint; and as `read_adapter`.
            MismatchError: the preset does not fit the checkpoint.
        """
        shape: tuple[ModuleAlpha, ...] = ()
        if self.preset:
            factors = preset_factors(self.preset, names_of_pair(*parents), changed_names(*parents))
            shape = scaled(factors, alpha)
        return Recipe(
            aligned=parents.aligned.checkpoint,
            sft=parents.sft.checkpoint,
            alpha=alpha,
            arithmetic=self.arithmetic,
            output_dtype=self.dtype,
            vocabulary=self.vocabulary,
            extra=self.extra,
            allow=tuple(sorted(set(self.allow))),
            dequantize=self.dequantize,
            nonfinite=self.nonfinite,
            module_alphas=(*self.module_alphas, *shape),
            shard_bytes=self.shard_bytes,
            adapter=adapter_mode(parents.aligned, self.merge),
        )
