"""What a pass over a plan's shards holds in memory on this machine, known before it starts."""

import os

from tasks.weights.inputs import InputMode
from tasks.weights.jobs import Plan
from tasks.weights.memory import memory_budget
from tasks.weights.shard_writer import held_memory, shard_memory

__all__ = ["memory_needed", "shards_at_once"]


def memory_needed(plan: Plan, inputs: InputMode = "download") -> int:
    """Bytes of buffers that `extrapolate` holds at once on this machine, beside the imported libraries."""
    of_shard = shard_memory(1, inputs) + max(map(held_memory, plan.shards), default=0)
    at_once = min(shards_at_once(inputs == "stream"), len(plan.shards)) * of_shard
    return max(of_shard, min(at_once, memory_budget().size))


def shards_at_once(remote: bool) -> int:
    """One for every two cores: reading, computing, writing and hashing of one shard keep two busy.

    Over a network at least four: two shards come in while others are made and sent.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return max(4 if remote else 1, cores // 2)
