"""The formula against float64; against the authors' program in test_authors_program.py."""

import pytest
import torch
from torch import Tensor

from tasks.weights.compiled import extrapolate
from tasks.weights.formula import extrapolate_block
from tests.weights.stored import stored

N = 1 << 20
SIXTEEN_BITS = [torch.bfloat16, torch.float16]


def two_sides(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights as checkpoints have them: spread 0.02, an update of a twentieth."""
    torch.manual_seed(1)
    new = (0.02 * torch.randn(N)).to(dtype)
    return new, (new.float() + 1e-3 * torch.randn(N)).to(dtype)


def result(new: Tensor, old: Tensor, alpha: float, dtype: torch.dtype) -> Tensor:
    """By torch's operations and by the CPU's compiled loops, which have to agree."""
    out, compiled = torch.empty(len(new), dtype=dtype), torch.empty(len(new), dtype=dtype)
    extrapolate_block(new, old, alpha, "fp32", out)
    extrapolate(stored(new), stored(old), alpha, "fp32", stored(compiled))
    assert torch.equal(out, compiled)
    return out


@pytest.mark.parametrize("dtype", SIXTEEN_BITS)
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5, 2.5, 25.0, -0.7])
def test_agrees_with_float64_off_ties(dtype: torch.dtype, alpha: float) -> None:
    """At least 99.99% of the elements are the correctly rounded ones, where no tie decides."""
    new, old = two_sides(dtype)
    exact = new.double() + alpha * (new.double() - old.double())
    rounded = exact.to(dtype)
    # Near a tie: nudged by a few fp32 roundings, the exact value rounds elsewhere.
    nudge = 1e-6 * (exact.abs() + abs(alpha) * (new.double() - old.double()).abs())
    off_ties = ((exact - nudge).to(dtype) == rounded) & ((exact + nudge).to(dtype) == rounded)
    agree = result(new, old, alpha, dtype)[off_ties] == rounded[off_ties]
    assert off_ties.double().mean() > 0.5
    assert agree.double().mean() >= 0.9999


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5, 8.0])
def test_float32_output_keeps_the_update(alpha: float) -> None:
    new, old = two_sides(torch.bfloat16)
    exact = new.double() + alpha * (new.double() - old.double())
    error = (result(new, old, alpha, torch.float32).double() - exact).abs().max()
    assert error < 1e-6 * exact.abs().max()


@pytest.mark.parametrize("dtype", [*SIXTEEN_BITS, torch.float32])
def test_exact_ends(dtype: torch.dtype) -> None:
    """α = 0 is the aligned checkpoint, α = −1 the SFT checkpoint, and no update changes nothing."""
    new, old = two_sides(dtype)
    assert torch.equal(result(new, old, 0.0, dtype), new)
    assert torch.equal(result(new, old, -1.0, dtype), old)
    assert torch.equal(result(new, new, 0.3, dtype), new)


@pytest.mark.parametrize("dtype", [*SIXTEEN_BITS, torch.float32])
@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_result_does_not_depend_on_the_cuts(dtype: torch.dtype, alpha: float) -> None:
    """Vector units and their remainders round alike: a shard cut elsewhere has the same weights."""
    new, old = two_sides(dtype)
    whole = result(new, old, alpha, dtype)
    cuts = [1, 2, 3, 7, 12, 1000, 1023, 4097, 70001]
    pieces = [result(new[a:b], old[a:b], alpha, dtype) for a, b in zip([0, *cuts], [*cuts, N], strict=True)]
    assert torch.equal(torch.cat(pieces), whole)
