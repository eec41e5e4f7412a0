"""Workers of a model on a CPU, as forks of the engine's process, which has imported vLLM.

vLLM's platform for CPUs spawns them, so that OpenMP reads its variables anew; each then imports vLLM, ten
to thirty seconds of a core. With one thread and no binding there is nothing to read anew. On GPUs vLLM
forks by itself.
"""

import os

from vllm.v1.executor.multiproc_executor import MultiprocExecutor

__all__ = ["ForkedWorkers"]


class ForkedWorkers(MultiprocExecutor):  # type: ignore[misc]
    """An executor whose workers are forks."""

    def _init_executor(self) -> None:
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"  # the platform has set `spawn`
        super()._init_executor()
