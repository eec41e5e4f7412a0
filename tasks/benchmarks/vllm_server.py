"""vLLM's OpenAI-compatible server, tied to the life of whoever started it.

    python -m tasks.benchmarks.vllm_server --model FOLDER --port 8123 …     arguments as of vLLM's own

Its standard input is a pipe that its parent holds open: when the parent dies, however it dies,
the pipe ends, and with it the server and its worker processes. Like the engine of a generation
it runs under any interpreter that has vllm, and imports little else of this project.
"""

import os
import runpy
import signal
import sys
import threading

from tasks.generation.engine import CPU_ENVIRONMENT

__all__ = ["main"]

SERVER = "vllm.entrypoints.openai.api_server"


def main() -> None:
    """Serves until it is ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    if not torch.cuda.is_available():
        for name, value in CPU_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        sys.argv.append("--enforce-eager")  # compiling takes longer than judging does there
    runpy.run_module(SERVER, run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
