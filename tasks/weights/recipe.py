"""The recipe: everything that decides θ_expo, and nothing else."""

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from tasks.core.values import Value, fingerprint
from tasks.stores.source import Checkpoint
from tasks.weights.options import AdapterMode, Arithmetic, Extra, Nonfinite, OutputDtype, Vocabulary

__all__ = [
    "AdapterMode",
    "Arithmetic",
    "Extra",
    "ModuleAlpha",
    "Nonfinite",
    "OutputDtype",
    "Recipe",
    "Vocabulary",
]

# Fields that recipes of earlier versions did not have: at their default they are left out of the
# canonical form, so that the recipes, models and reports of those versions keep their fingerprints.
LATER_FIELDS = ("adapter", "extra", "allow", "dequantize")


class ModuleAlpha(Value):
    """Another alpha for some tensors.

    pattern  a word for a part of every architecture (attention, mlp, embeddings, head, norms),
             or a regular expression that is searched in the tensor's name; "" matches all
    alpha    in place of the recipe's
    layers   only of these: first and last, from 0 on
    """

    pattern: str
    alpha: float = Field(allow_inf_nan=False)
    layers: tuple[int, int] | None = None


class Recipe(Value):
    """A resolved pair with its settings. Two equal recipes give the same bytes.

    aligned, sft   θ_1 and θ_0
    alpha          α of the paper's equation 1; may be negative or above one
    arithmetic     "fp32": one rounding to the output dtype; "parity": the authors' bf16 operations
    output_dtype   None: each tensor keeps the aligned checkpoint's dtype
    vocabulary     what to do when the two sides' vocabulary rows belong to other tokens, or are not as many:
                   refuse, pair the rows of equal tokens, or pair them as they stand
    nonfinite      whether NaN or Inf in a parent is an error or only counted
    module_alphas  the first that matches a tensor decides its alpha
    shard_bytes    None: the aligned checkpoint's layout if it is safetensors, else 5 GB shards
    adapter        None: the aligned side is a whole checkpoint. Otherwise it is a LoRA adapter on the SFT
                   model: "scale" writes it again at (1 + α) times its scale, "merge" adds it to the weights
    extra          parameters of one side alone: an error, or the aligned side's are copied and the SFT
                   side's left out
    allow          fields of config.json that may differ although they change what weights mean
    dequantize     whether fp8 weights of either side are multiplied by their scales; where the aligned
                   side's are, the output is bf16 unless output_dtype says otherwise
    """

    aligned: Checkpoint
    sft: Checkpoint
    alpha: float = Field(allow_inf_nan=False)
    arithmetic: Arithmetic = "fp32"
    output_dtype: OutputDtype | None = None
    vocabulary: Vocabulary = "error"
    nonfinite: Nonfinite = "error"
    module_alphas: tuple[ModuleAlpha, ...] = ()
    shard_bytes: int | None = Field(default=None, gt=0)
    adapter: AdapterMode | None = None
    extra: Extra = "error"
    allow: tuple[str, ...] = ()
    dequantize: bool = False

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        for name in LATER_FIELDS:
            if getattr(self, name) == type(self).model_fields[name].default:
                content.pop(name, None)
        return content

    @property
    def stated_dtype(self) -> str | None:
        """The dtype of every extrapolated tensor where the recipe states one, else None."""
        return "bfloat16" if self.arithmetic == "parity" else self.output_dtype

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical recipe, 64 hex digits."""
        return fingerprint(self)
