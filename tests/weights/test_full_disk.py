"""A disk that is really full, or cannot be written: one clear error, nothing published, and on with it after.

The disk is a tmpfs of a few hundred kilobytes, mounted where only the child process sees it.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.weights.checkpoints import recipe, write_checkpoint

ROOT = Path(__file__).parents[2]
OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]

CHILD = """
import json, shutil, subprocess, sys
from pathlib import Path
from tasks.core.errors import ExpoError
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.jobs import Plan
from tasks.weights.pass_options import PassOptions

plan = Plan.model_validate_json(Path(sys.argv[1]).read_bytes())
disk, options = Path(sys.argv[2]), json.loads(sys.argv[3])
aligned, sft = (FolderSource(Path(one.uri)) for one in (plan.recipe.aligned, plan.recipe.sft))
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={options['size']}", "none", disk], check=True)
(disk / "other").write_bytes(bytes(options["other"]))
if not options["look"]:  # as when another program takes the room meanwhile
    usage = shutil.disk_usage(disk)._replace(free=10**15)
    shutil.disk_usage = lambda _: usage
said = []
model = Artefact(str(disk / "out"))
for attempt in range(2):
    try:
        extrapolate(plan, aligned, sft, model, options=PassOptions(workers=1))
        said.append("done")
    except ExpoError as error:
        said.append(f"{type(error).__name__}: {error}")
    said.append(model.manifest() is not None)
    (disk / "other").unlink(missing_ok=True)
print(json.dumps(said))
"""


@pytest.fixture(scope="module", autouse=True)
def own_mounts() -> None:
    if not shutil.which("unshare"):
        pytest.skip("no unshare here")
    if subprocess.run([*OWN_MOUNTS, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount in a namespace of its own")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[object]]:
    """Extrapolates 3 shards of 80 kB onto a small disk; then again, when the other file there is gone."""
    from tasks.weights.planner import make_plan

    tensors = {f"t{n}": torch.randn(40_000).bfloat16() for n in range(3)}
    aligned = write_checkpoint(tmp_path / "aligned", tensors, [1, 2])
    sft = write_checkpoint(tmp_path / "sft", {name: tensor / 2 for name, tensor in tensors.items()})
    (tmp_path / "plan.json").write_text(make_plan(recipe(aligned, sft), aligned, sft).model_dump_json())
    (tmp_path / "disk").mkdir()

    def child(size: int, other: int, look: bool) -> list[object]:
        options = json.dumps({"size": size, "other": other, "look": look})
        arguments = [str(tmp_path / "plan.json"), str(tmp_path / "disk"), options]
        command = [*OWN_MOUNTS, sys.executable, "-c", CHILD, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said: list[object] = json.loads(done.stdout)
        return said

    return child


def test_too_little_room_is_refused_before_work(run: Callable[..., list[object]]) -> None:
    first, whole, second, whole_then = run(size=400_000, other=360_000, look=True)
    assert "make room, then run again" in str(first) and "are needed" in str(first)
    assert (whole, second, whole_then) == (False, "done", True)


@pytest.mark.parametrize(
    ("other", "place"),
    [
        (360_000, "model-00001.*part: "),
        (160_000, "model-0000[23].*part: "),
        (139_000, r"(/out|\.partial/(config|manifest|model\.safetensors\.index)\.json[^/]*): "),
    ],
)
def test_disk_that_fills_up_on_the_way(run: Callable[..., list[object]], other: int, place: str) -> None:
    """In the first shard, in a later one, among the small files: what is whole is kept for the next run."""
    first, whole, second, whole_then = run(size=400_000, other=other, look=False)
    assert re.fullmatch(f"PermanentError: .*{place}the disk is full; make room, then run again", str(first))
    assert (whole, second, whole_then) == (False, "done", True)
