"""The GPUs of this machine, in groups that serve one model each."""

import os
from pathlib import Path
from threading import BoundedSemaphore

from tasks.generation.settings import GenerationSettings

__all__ = [
    "ENGINE_SLOTS",
    "ENGINE_TURNS",
    "HAS_GPU",
    "VISIBLE",
    "gpu_groups",
    "gpus_of",
    "spans_nodes",
]

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")
HAS_GPU = (DEVICES / "nvidiactl").exists()
# Engines of this process at a time: one where there is a GPU, whose memory it takes whole.
ENGINES = 1 if HAS_GPU else 2
ENGINE_SLOTS = BoundedSemaphore(ENGINES)
# Taken before the cluster's GPUs: who only waits for an engine of this process leaves those to others.
ENGINE_TURNS = BoundedSemaphore(ENGINES)


def gpu_groups(size: int) -> tuple[str, ...]:
    """As many groups of `size` GPUs as there are, each as a value of CUDA_VISIBLE_DEVICES.

    Empty where there are fewer than `size` (then vLLM says so, or spans several nodes by its own
    means). Only GPUs that this process may see are counted.
    """
    gpus = _visible()
    ends = range(size, len(gpus) + 1, size)
    return tuple(",".join(gpus[end - size : end]) for end in ends)


def gpus_of(settings: GenerationSettings) -> int:
    """How many of the cluster's GPUs an engine takes: a 70B needs several, a 7B one."""
    return settings.workers if HAS_GPU else 0


def spans_nodes() -> bool:
    """Whether models are served by the Ray cluster that RAY_ADDRESS names: vLLM's means for several nodes."""
    return "RAY_ADDRESS" in os.environ


def _visible() -> list[str]:
    chosen = os.environ.get(VISIBLE)
    if chosen is not None:
        return [gpu.strip() for gpu in chosen.split(",") if gpu.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(DEVICES.glob("nvidia[0-9]*"))))]
