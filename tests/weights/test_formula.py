"""The formula against float64, and against the authors' own program."""

import subprocess
import sys
from pathlib import Path

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


AUTHORS = """
import sys, torch
from transformers import AutoModelForCausalLM
for alpha in sys.argv[4:]:
    sft = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
    dpo = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=torch.bfloat16)
    old = sft.state_dict()
    for name, weights in dpo.named_parameters():
        weights.data = weights.data + float(alpha) * (weights.data - old[name].data)
    dpo.save_pretrained(f"{sys.argv[3]}-{alpha}")
"""


@pytest.mark.slow
def test_parity_is_what_the_authors_program_writes(tmp_path: Path) -> None:
    """Bit for bit, on a real Llama of fp16 and fp32, tied embeddings included."""
    from tasks.stores.artefact import Artefact
    from tasks.stores.folder_source import FolderSource
    from tasks.weights import extrapolation
    from tasks.weights.planner import make_plan
    from tests.weights.checkpoints import read_tensors, recipe
    from tests.weights.models import save_llama

    save_llama(tmp_path / "aligned", seed=1, dtype=torch.float16)
    save_llama(tmp_path / "sft", seed=2, dtype=torch.float32)
    aligned, sft = FolderSource(tmp_path / "aligned"), FolderSource(tmp_path / "sft")
    alphas = (0.3, 0.5, 8.0)
    folders = [tmp_path / "sft", tmp_path / "aligned", tmp_path / "authors"]
    authors = [sys.executable, "-c", AUTHORS, *map(str, folders), *map(str, alphas)]
    subprocess.run(authors, check=True, capture_output=True)
    for alpha in alphas:
        plan = make_plan(recipe(aligned, sft, alpha=alpha, arithmetic="parity"), aligned, sft)
        extrapolation.extrapolate(plan, aligned, sft, Artefact(str(tmp_path / f"project-{alpha}")))
        found, expected = (read_tensors(tmp_path / f"{whose}-{alpha}") for whose in ("project", "authors"))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
