"""Which tensors are buffers: made by the engine from the config, not trained."""

import re

from tasks.weights.headers import TensorRange

__all__ = ["FLOATS", "is_buffer"]

FLOATS = ("BF16", "F16", "F32")
"""What can be extrapolated."""

_BUFFER = re.compile(r"(^|\.)(rotary_emb\.(inv_freq|cos_cached|sin_cached)|position_ids|masked_bias)$")
_MASK = re.compile(r"\.(attn|attention)\.bias$")


def is_buffer(name: str, tensor: TensorRange) -> bool:
    """Rotary tables, position ids, causal masks (GPT-2, GPT-NeoX) and whatever holds truth values."""
    if _BUFFER.search(name) or tensor.dtype == "BOOL":
        return True
    # A trained bias has one dimension, a causal mask is [1, 1, positions, positions].
    square = len(tensor.shape) == 4 and tensor.shape[:2] == (1, 1) and tensor.shape[2] == tensor.shape[3]
    return square and bool(_MASK.search(name))
