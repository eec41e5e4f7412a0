"""θ(α) on a GPU: of two models that stay in its memory, and from disk to disk."""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.formula import extrapolate_block
from tasks.weights.jobs import Plan
from tasks.weights.pass_options import Device, PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.performance.measure import in_turn
from tests.performance.programs import floor
from tests.performance.synthetic import layers_of, make_pair, shapes_of

__all__ = ["measure_disk", "measure_resident"]

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5)
ROUNDS = 4
COPIED = 4_000_000_000  # bytes: many times the cache


def measure_resident(gigabytes: float) -> dict[str, float]:
    """A sweep of α over a pair of so many 10⁹ bytes each (bf16) that lies in the GPU's memory.

    Returns:
        Milliseconds for each α (median, least, greatest), what they would be if the three models' bytes
        moved as fast as a copy's, the copy's bandwidth, and the share of elements equal to the
        rounded float64 result.
    """
    torch.manual_seed(0)
    aligned = {name: _weights(shape) for name, shape in shapes_of(layers_of(gigabytes))}
    sft = {name: tensor + 1e-3 * torch.randn_like(tensor) for name, tensor in aligned.items()}
    out = {name: torch.full_like(tensor, torch.nan) for name, tensor in aligned.items()}
    size = sum(2 * tensor.numel() for tensor in aligned.values())
    bandwidth = _copy_bandwidth()
    for alpha in ALPHAS:
        _sweep(aligned, sft, out, alpha)
    times = [_timed(partial(_sweep, aligned, sft, out, alpha)) for alpha in ALPHAS * ROUNDS]
    bound = 1e3 * 3 * size / bandwidth
    return {
        "bytes": size,
        "tensors": len(aligned),
        "ms": statistics.median(times),
        "least ms": min(times),
        "greatest ms": max(times),
        "bound ms": bound,
        "times the bound": statistics.median(times) / bound,
        "copy GB/s": bandwidth / 1e9,
        "equal to rounded float64": _equal(aligned, sft, out, ALPHAS[-1]),
    }


def measure_disk(work: Path, gigabytes: float, rounds: int) -> dict[str, float]:
    """Median seconds in a process that lives, the page cache warm: the I/O bound, the CPU, the GPU."""
    work.mkdir(parents=True, exist_ok=True)
    aligned, sft = make_pair(work, gigabytes)
    new, old = FolderSource(aligned), FolderSource(sft)
    plan = make_plan(Recipe(aligned=new.checkpoint, sft=old.checkpoint, alpha=0.3), new, old)
    ways: dict[str, Callable[[Path], object]] = {
        "floor": lambda out: floor(aligned, sft, 0.3, out),
        "cpu": lambda out: _extrapolate(plan, new, old, out, "cpu"),
        "cuda": lambda out: _extrapolate(plan, new, old, out, "cuda"),
    }
    return in_turn(ways, rounds, work)


def _weights(shape: tuple[int, int]) -> Tensor:
    size = shape if shape[1] else shape[:1]
    return (0.02 * torch.randn(size, device="cuda")).bfloat16()


def _sweep(aligned: dict[str, Tensor], sft: dict[str, Tensor], out: dict[str, Tensor], alpha: float) -> None:
    for name, tensor in aligned.items():
        extrapolate_block(tensor, sft[name], alpha, "fp32", out[name])


def _copy_bandwidth() -> float:
    """Bytes read and written a second by a copy within the GPU."""
    source = torch.randn(COPIED // 4, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    times = [_timed(lambda: target.copy_(source)) for _ in range(10)]
    return 2 * COPIED / (statistics.median(times) / 1e3)


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds by the GPU's clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


def _equal(aligned: dict[str, Tensor], sft: dict[str, Tensor], out: dict[str, Tensor], alpha: float) -> float:
    same = 0
    for name, tensor in aligned.items():
        new, old = tensor.double(), sft[name].double()
        same += int((out[name] == (new + alpha * (new - old)).bfloat16()).sum())
    return same / sum(tensor.numel() for tensor in aligned.values())


def _extrapolate(plan: Plan, aligned: FolderSource, sft: FolderSource, out: Path, device: Device) -> None:
    extrapolate(plan, aligned, sft, Artefact(str(out / "model")), options=PassOptions(device=device))
