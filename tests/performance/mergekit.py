"""mergekit (from the package index) as a peer: θ_1 · (1 + α) − θ_0 · α as its linear merge."""

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

from tests.performance.measure import Program

__all__ = ["mergekit_program"]

MERGEKIT = "mergekit==0.1.5"
# The fastest of its flags where there is no GPU: measured against the default and each of them alone.
FLAGS = ("--lazy-unpickle", "--async-write", "--no-copy-tokenizer", "--no-write-model-card", "--quiet")
CONFIG = """\
merge_method: linear
models:
  - {{model: {aligned}, parameters: {{weight: {own}}}}}
  - {{model: {sft}, parameters: {{weight: {other}}}}}
parameters: {{normalize: false}}
dtype: bfloat16
"""


def mergekit_program(aligned: Path, sft: Path, alpha: float, work: Path) -> list[Program]:
    """The command, in an environment of its own under `work` (made once: some minutes)."""
    python = _environment(work / "mergekit")
    config = work / "mergekit.yaml"
    # It takes a relative path for a hub id.
    config.write_text(
        CONFIG.format(aligned=aligned.resolve(), sft=sft.resolve(), own=1 + alpha, other=-alpha)
    )
    script = python.with_name("mergekit-yaml")
    return [Program("mergekit", (str(script), *FLAGS, str(config)), {"HF_HUB_OFFLINE": "1"})]


def _environment(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        print(f"installing {MERGEKIT} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        torch = version("torch").partition("+")[0]
        # The project's torch, first and alone: it may come from another index than the rest.
        for wanted in ([f"torch=={torch}"], [MERGEKIT]):
            subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
        (folder / "done").touch()
    return python
