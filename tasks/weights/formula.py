"""The formula, in one place: θ_expo = θ_aligned + α · (θ_aligned − θ_sft).

arXiv 2404.16792, equation 1, with β = 1 + α. Here it is written in torch's operations, for
GPUs; the CPU's loops (`tasks.weights.compiled`) and numpy's operations, with which `expo verify`
computes (`tasks.weights.reference`), give the same bits.
"""

import numpy as np
import torch
from torch import Tensor

from tasks.weights.recipe import Arithmetic

__all__ = ["DTYPES", "extrapolate_block"]

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def extrapolate_block(
    aligned: Tensor, sft: Tensor, alpha: float, arithmetic: Arithmetic, out: Tensor
) -> None:
    """Writes the extrapolation of two blocks of equal shape (bf16, fp16 or fp32 each) into `out`.

    "fp32": computed in fp32 and rounded once, to nearest even, to the dtype of `out`. The
    form is lerp's, base + factor · (sft − aligned) with the product and the sum in one fused
    step; base is the side that θ_expo is nearer to.

    At α = 0 the result is the aligned block and at α = −1 the SFT block, cast and otherwise
    untouched: the sign of a zero is kept, and NaN or Inf of the other side does not enter.
    Arithmetic cannot promise that: 0 · (sft − aligned) is +0, −0 or NaN, and −0 + +0 is +0. At
    any other α (α is taken as fp32) the sign of a zero is what IEEE 754 gives the fused step:
    −0 if base and product are both −0, or if a negative result underflows, and +0 otherwise.

    "parity": the authors' program. Both sides are cast to bf16, and the difference, its
    product with α and the sum are each rounded to bf16; `out` should be bf16. The sign of a
    zero is IEEE 754's there at every α, as in the authors' program.
    """
    if arithmetic == "parity":
        aligned, sft = aligned.to(torch.bfloat16), sft.to(torch.bfloat16)
        out.copy_(aligned + alpha * (aligned - sft))
    elif (weight := np.float32(-alpha)) in (0, 1):
        # lerp multiplies here too, and its sign of zero differs between a vector and its tail.
        out.copy_(sft if weight else aligned)
    elif aligned.dtype == sft.dtype == out.dtype:
        # On 16-bit tensors lerp computes in fp32 and rounds once.
        torch.lerp(aligned, sft, -alpha, out=out)
    else:
        out.copy_(torch.lerp(aligned.float(), sft.float(), -alpha))
