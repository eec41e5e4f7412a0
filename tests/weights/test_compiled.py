"""The CPU's compiled loops: the formula's bits, whatever the values, dtypes and α."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.weights.compiled import block_stats, extrapolate
from tasks.weights.cuda import _block_stats as cuda_block_stats
from tasks.weights.formula import DTYPES, extrapolate_block
from tasks.weights.kernel import CpuKernel
from tasks.weights.recipe import Arithmetic
from tasks.weights.reference import fused_multiply_add
from tests.weights.reference import reference
from tests.weights.stored import stored

ARITHMETICS: tuple[Arithmetic, ...] = ("fp32", "parity")
ALPHAS = (0.0, 0.1, 0.3, 0.5, 2.5, 25.0, -0.3, -0.7, -1.0)


def all_values(dtype: torch.dtype, count: int = 1 << 16) -> Tensor:
    """Every pattern of 16 bits; of 32 bits so many, evenly spread: NaN, Inf and subnormal ones too."""
    if dtype.itemsize == 2:
        return torch.arange(count, dtype=torch.int32).to(torch.int16).view(dtype)
    return torch.from_numpy(np.arange(count, dtype=np.uint32) * np.uint32(65537)).view(dtype)


def check(new: Tensor, old: Tensor, alpha: float, arithmetic: Arithmetic, dtype: torch.dtype) -> None:
    """The loops and torch's operations, each against the reference, bit for bit."""
    wanted = reference(new, old, alpha, arithmetic, dtype)
    by_torch, out = torch.empty(len(new), dtype=dtype), torch.empty(len(new), dtype=dtype)
    extrapolate_block(new, old, alpha, arithmetic, by_torch)
    nonfinite = extrapolate(stored(new), stored(old), alpha, arithmetic, stored(out))
    bits = torch.int16 if dtype.itemsize == 2 else torch.int32
    for name, found in (("torch", by_torch), ("compiled", out)):
        same = (found.view(bits) == wanted.view(bits)) | (found.isnan() & wanted.isnan())
        assert same.all(), (name, [side[~same][:3] for side in (new, old, wanted, found)])
    assert nonfinite == int((~wanted.isfinite()).sum())


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=3)), ids="-".join)
def test_bits_are_the_formulas(dtypes: tuple[str, str, str], arithmetic: Arithmetic) -> None:
    """Every value of a dtype, against near ones and against any."""
    aligned, sft, out = (DTYPES[name] for name in dtypes)
    new = all_values(aligned)
    any_order = all_values(sft)[torch.randperm(1 << 16, generator=torch.Generator().manual_seed(1))]
    for old, alpha in itertools.product(((new.float() * 1.01).to(sft), any_order), ALPHAS):
        check(new, old, alpha, arithmetic, out)


ZEROS = (0.0, -0.0)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("alpha", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=3)), ids="-".join)
def test_sign_of_zero(dtypes: tuple[str, str, str], alpha: float, arithmetic: Arithmetic) -> None:
    """At every length: torch computes a vector's tail by other instructions than the vector."""
    aligned, sft, out = (DTYPES[name] for name in dtypes)
    for of_aligned, of_sft, count in itertools.product(ZEROS, ZEROS, range(1, 71)):
        new, old = torch.full((count,), of_aligned).to(aligned), torch.full((count,), of_sft).to(sft)
        check(new, old, alpha, arithmetic, out)


@pytest.mark.parametrize(("alpha", "side"), [(0.0, 0), (-0.0, 0), (1e-60, 0), (-1.0, 1), (-1 - 1e-12, 1)])
def test_ends_are_the_checkpoints_bits(alpha: float, side: int) -> None:
    """Also where the other side is infinite or not a number, and where zeros are negative."""
    new = torch.tensor([0.0, -0.0, 0.0, -0.0, -0.0, 1.0, 1.0, math.inf])
    old = torch.tensor([0.0, 0.0, -0.0, -0.0, -1.0, math.inf, math.nan, 1.0])
    out = torch.empty(len(new))
    nonfinite = extrapolate(stored(new), stored(old), alpha, "fp32", stored(out))
    end = (new, old)[side]
    assert out.view(torch.int32).tolist() == end.view(torch.int32).tolist()
    assert nonfinite == int((~end.isfinite()).sum())
    check(new, old, alpha, "fp32", torch.float32)


def test_reference_rounds_once() -> None:
    """The cases where a product rounded by itself, or a sum rounded to fp64 first, would show."""
    cases = [
        (1 + 2**-12, 1 + 2**-12, -1 - 2**-11, 2**-24),  # all that is left is the product's last bit
        (1 + 2**-23, 1 + 2**-23, 2.0**30, 2.0**30),
        (2.0**-30, 2.0**-30, 1 + 2**-23, 1 + 2**-23),
        (1.0, 2.0**24 + 2, -(2.0**-100), 2.0**24 + 2),
        (2.0**-24, 1 + 2**-23, 1.0, 1 + 2**-23),  # just above a tie
        (2.0**-24, 1.0, 1.0, 1.0),  # the tie, to even
        (2.0**-24, 1 - 2**-24, 1.0, 1.0),  # just below it
        (-(2.0**-75), 2.0**-75, 0.0, -0.0),  # underflows
    ]
    for factor, other, addend, wanted in cases:
        operands = (np.array([value], np.float32) for value in (other, addend))
        found = fused_multiply_add(np.float32(factor), *operands)
        assert found.tobytes() == np.float32(wanted).tobytes(), (factor, other, addend)


@settings(max_examples=200)
@given(
    values=st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=1, max_size=70),
    alpha=st.floats(-1e6, 1e6),
    dtypes=st.tuples(*[st.sampled_from(list(DTYPES.values()))] * 3),
    arithmetic=st.sampled_from(ARITHMETICS),
)
def test_any_values(
    values: list[tuple[float, float]],
    alpha: float,
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype],
    arithmetic: Arithmetic,
) -> None:
    new, old = (torch.tensor(side, dtype=torch.float32) for side in zip(*values, strict=True))
    check(new.to(dtypes[0]), old.to(dtypes[1]), alpha, arithmetic, dtypes[2])


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("count", [1, 7, 8191, 8192, 8193, 100_000])
def test_block_stats(name: str, count: int) -> None:
    torch.manual_seed(count)
    new = (0.02 * torch.randn(count)).to(DTYPES[name])
    old = (new.float() + 1e-3 * torch.randn(count)).to(DTYPES[name])
    squares, update_squares, product, largest = block_stats(stored(new), stored(old))
    update = new.float() - old.float()
    assert squares == pytest.approx(float(new.double().square().sum()), rel=1e-5)
    assert update_squares == pytest.approx(float(update.double().square().sum()), rel=1e-5)
    assert product == pytest.approx(float((new.double() * update.double()).sum()), abs=1e-5 * squares)
    assert largest == float(update.abs().max())
    on_gpu = cuda_block_stats(new.float(), old.float(), []).tolist()
    assert on_gpu == pytest.approx([squares, update_squares, product, largest], rel=1e-5, abs=1e-5 * squares)


@pytest.mark.parametrize(
    ("bad", "largest"), [(math.nan, math.nan), (math.inf, math.inf), (-math.inf, math.inf)]
)
def test_block_stats_of_bad_values(bad: float, largest: float) -> None:
    new, old = torch.full((9000,), 0.5), torch.zeros(9000)
    new[8500] = bad
    assert block_stats(stored(new), stored(old))[3] == pytest.approx(largest, nan_ok=True)


def test_kernel_computes_every_alpha() -> None:
    new, old = torch.tensor([1.0, 60000.0]).half(), torch.tensor([0.5, 0.0]).half()
    outs = [torch.empty(2).half() for _ in range(2)]
    sums = CpuKernel("fp32").run(stored(new), stored(old), (0.0, 2.0), [stored(out) for out in outs])
    assert [out.tolist() for out in outs] == [[1.0, 60000.0], [2.0, math.inf]]
    assert sums.nonfinite == (0, 1)
    assert sums.largest == 60000.0
