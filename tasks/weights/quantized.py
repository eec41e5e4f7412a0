"""Recognizes quantized checkpoints: by `quantization_config` first, by dtypes and names second."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tasks.weights.fp8 import QUANTIZATION, has_known_scales
from tasks.weights.headers import TensorRange
from tasks.weights.refusals import examples
from tasks.weights.sides import Side

__all__ = ["quantization"]

_PACKED = re.compile(
    r"\.(qweight|qzeros|g_idx|absmax|quant_map|nested_absmax|weight_scale_inv|weight_scale|input_scale"
    r"|weight_packed|weight_shape|SCB)$|\.quant_state\.|_(blocks|scales)$"
)
_SMALL_DTYPES = ("F8_", "F4", "F6_")
_STEPS = {
    "bitsandbytes": "load it with transformers, call model.dequantize() and save_pretrained, or use the "
    "16-bit checkpoint",
    "mxfp4": "load it with Mxfp4Config(dequantize=True) and save_pretrained",
    "fp8": "use the BF16 checkpoint, or convert it to BF16",
}
_STEP = "use the checkpoint that it was quantized from (see base_model in its README)"


def quantization(side: Side) -> str | None:
    """One line that says how a side is quantized and what to use instead; None where it is not."""
    method = _method(side.config or {})
    packed = [name for name, tensor in side.tensors.items() if _is_packed(name, tensor)]
    if method is None and not packed:
        return None
    kind = method or _kind(side.tensors, packed)
    step = next((step for word, step in _STEPS.items() if word in kind), _STEP)
    if has_known_scales(side):
        step = "add --dequantize to extrapolate its weights times their scales, or use the BF16 checkpoint"
    if not packed:
        return (
            f"{side.words}: config.json says it is quantized ({kind}), its tensors are plain numbers; "
            "if they were converted, remove quantization_config from its config.json"
        )
    dtypes = Counter(side.tensors[name].dtype for name in packed)
    counts = ", ".join(f"{count:,} of {dtype}" for dtype, count in dtypes.most_common())
    return f"{side.words} is quantized ({kind}; {examples(packed)}; {counts}): {step}"


def _method(config: Mapping[str, Any]) -> str | None:
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        for field in QUANTIZATION:
            if isinstance(settings := part.get(field), dict):
                named = settings.get("quant_method")
                return named if isinstance(named, str) else "an unnamed method"
    return None


def _is_packed(name: str, tensor: TensorRange) -> bool:
    if tensor.scale is not None:
        return False
    plain = name.endswith((".weight", ".bias")) and ".quant_state." not in name
    return tensor.dtype.startswith(_SMALL_DTYPES) or not (plain or _PACKED.search(name) is None)


def _kind(tensors: Mapping[str, TensorRange], packed: list[str]) -> str:
    """A guess at the method, for a checkpoint whose config does not say it."""
    endings = {name.rpartition(".")[2] for name in packed}
    dtypes = {tensors[name].dtype for name in packed}
    if endings & {"absmax", "quant_map", "SCB"} or any(".quant_state." in name for name in packed):
        return "bitsandbytes"
    if "qweight" in endings:
        return "gptq or awq"
    if any(name.endswith("_blocks") for name in packed) or "F8_E8M0" in dtypes:
        return "mxfp4 or mxfp8"
    if any(dtype.startswith("F8_") for dtype in dtypes):
        return "fp8"
    return "packed weights"
