"""An engine that answers once and never ends, with a child of its own."""

import os
import subprocess
from pathlib import Path

from tasks.generation.engine import EngineRequest

CHILD, ENGINE = "child.pid", "engine.pid"


def main(path: str, progress: int) -> int:
    """In the fork: leaves both process ids in the job's folder."""
    request = EngineRequest.model_validate_json(Path(path).read_bytes())
    folder = Path(request.jobs[0].job.output)
    child = subprocess.Popen(["sleep", "1000"])
    (folder / CHILD).write_text(str(child.pid))
    (folder / ENGINE).write_text(str(os.getpid()))
    os.write(progress, b".")
    return child.wait()
