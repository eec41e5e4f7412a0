"""A process that extrapolates and kills itself once BYTES are written.

python -m tests.weights.victim PLAN.json OUT BYTES
"""

import os
import signal
import sys
from pathlib import Path

from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.jobs import Plan
from tasks.weights.pass_options import PassOptions


def main(plan_file: str, out: str, last: str) -> None:
    plan = Plan.model_validate_json(Path(plan_file).read_bytes())
    aligned, sft = (
        FolderSource(Path(checkpoint.uri)) for checkpoint in (plan.recipe.aligned, plan.recipe.sft)
    )
    left = int(last)

    def advance(written: int) -> None:
        nonlocal left
        left -= written
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    extrapolate(plan, aligned, sft, Artefact(out), options=PassOptions(workers=1), advance=advance)


if __name__ == "__main__":
    main(*sys.argv[1:])
