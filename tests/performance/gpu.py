"""When a GPU pays: the same shards on CPU and GPU from disk to disk, and α after α on models that stay there.

    python -m tests.performance.gpu                     8 GB a checkpoint, three rounds
    python -m tests.performance.gpu --gigabytes 2

Everything in one process that lives, the page cache warm. "resident" is θ(α) of two models in
the GPU's memory, written into a third's: what a sweep costs an engine that holds all three.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
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
from tests.performance.synthetic import make_pair

__all__ = ["main", "measure_gpu"]

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5)


def main() -> None:
    """Prints the median of each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("out/work"))
    options = parser.parse_args()
    print(torch.cuda.get_device_name())
    for name, seconds in measure_gpu(options.work, options.gigabytes, options.rounds).items():
        print(f"{name:32}{seconds:10.4f} s")


def measure_gpu(work: Path, gigabytes: float, rounds: int) -> dict[str, float]:
    """Median seconds of each way."""
    aligned, sft = make_pair(work, gigabytes)
    new, old = FolderSource(aligned), FolderSource(sft)
    plan = make_plan(Recipe(aligned=new.checkpoint, sft=old.checkpoint, alpha=0.3), new, old)
    ways: dict[str, Callable[[Path], object]] = {
        "floor": lambda out: floor(aligned, sft, 0.3, out),
        "disk to disk, cpu": lambda out: _extrapolate(plan, new, old, out, "cpu"),
        "disk to disk, cuda": lambda out: _extrapolate(plan, new, old, out, "cuda"),
    }
    return in_turn(ways, rounds, work) | _resident(aligned, sft)


def _extrapolate(plan: Plan, aligned: FolderSource, sft: FolderSource, out: Path, device: Device) -> None:
    extrapolate(plan, aligned, sft, Artefact(str(out / "model")), options=PassOptions(device=device))


def _resident(aligned: Path, sft: Path) -> dict[str, float]:
    start = time.perf_counter()
    new, old = _loaded(aligned), _loaded(sft)
    torch.cuda.synchronize()
    loaded = time.perf_counter() - start
    out = {name: torch.empty_like(tensor) for name, tensor in new.items()}
    seconds = []
    for alpha in (*ALPHAS, *ALPHAS):
        start = time.perf_counter()
        for name, tensor in new.items():
            extrapolate_block(tensor, old[name], alpha, "fp32", out[name])
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {"loading both to the GPU": loaded, "resident, each α": statistics.median(seconds)}


def _loaded(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file, "cuda")
    return tensors


if __name__ == "__main__":
    main()
