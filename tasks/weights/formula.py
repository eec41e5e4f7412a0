"""The formula, in one place: θ_expo = θ_aligned + α · (θ_aligned − θ_sft).

arXiv 2404.16792, equation 1, with β = 1 + α. Here it is said in torch's operations, for GPUs
and for `expo verify`; the CPU's loops (`tasks.weights.compiled`) give the same bits.
"""

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
    form is lerp's, exact at α = 0 (the aligned block) and α = −1 (the SFT block).

    "parity": the authors' program. Both sides are cast to bf16, and the difference, its
    product with α and the sum are each rounded to bf16; `out` should be bf16.
    """
    if arithmetic == "parity":
        aligned, sft = aligned.to(torch.bfloat16), sft.to(torch.bfloat16)
        out.copy_(aligned + alpha * (aligned - sft))
    elif aligned.dtype == sft.dtype == out.dtype:
        # On 16-bit tensors lerp computes in fp32 and rounds once.
        torch.lerp(aligned, sft, -alpha, out=out)
    else:
        out.copy_(torch.lerp(aligned.float(), sft.float(), -alpha))
