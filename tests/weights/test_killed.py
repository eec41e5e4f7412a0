"""Killed extrapolations: parts that nobody writes go, and the next run resumes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import MismatchError
from tasks.stores.artefact import Artefact
from tasks.weights.extrapolation import extrapolate
from tasks.weights.folder import finished_shard
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import pair

ROOT = Path(__file__).parents[2]
LEASE_HOLDER = """
import sys
from pathlib import Path
from tasks.stores.artefact import Artefact
part = Artefact(sys.argv[1]).part("model.safetensors")
part.touch()
print(part, flush=True)
sys.stdin.read()
"""


def test_parts_of_killed_runs_go(tmp_path: Path) -> None:
    """A live run's part stays, however old the clock makes it look; a killed one's goes at once."""
    wanted, aligned, sft = pair(tmp_path)
    plan, model = make_plan(wanted, aligned, sft), Artefact(str(tmp_path / "out"))
    model.scratch()
    command = [sys.executable, "-c", LEASE_HOLDER, model.uri]
    with _started(command) as killed, _started(command) as live:
        parts = [Path(_first_line(process)) for process in (killed, live)]
        killed.kill()
        killed.wait()
        os.utime(parts[1], (0, 0))
        (sft.folder() / "config.json").unlink()  # ends the run before it is sealed
        with pytest.raises(MismatchError):
            extrapolate(plan, aligned, sft, model)
        assert [part.exists() for part in parts] == [False, True]
        live.kill()


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    return process.stdout.readline().decode().strip()


def test_killed_and_run_again(tmp_path: Path) -> None:
    """kill -9 in the second shard: the first is kept, the end is that of an undisturbed run."""
    wanted, aligned, sft = pair(tmp_path)
    plan = make_plan(wanted, aligned, sft)
    (tmp_path / "plan.json").write_text(plan.model_dump_json())
    victim = [sys.executable, "-m", "tests.weights.victim"]
    last = str(plan.shards[0].bytes + 1)
    died = subprocess.run([*victim, tmp_path / "plan.json", tmp_path / "out", last], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    model = Artefact(str(tmp_path / "out"))
    assert model.manifest() is None
    kept = [job.file for job in plan.shards if finished_shard(job, model)]
    assert kept == [plan.shards[0].file]
    before = (tmp_path / "out" / kept[0]).stat().st_mtime_ns
    manifest = extrapolate(plan, aligned, sft, model)
    assert (tmp_path / "out" / kept[0]).stat().st_mtime_ns == before
    assert manifest == extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "undisturbed")))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in (tmp_path / "undisturbed").iterdir()
    )
