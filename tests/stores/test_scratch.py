"""Scratch folders end with their block, and those of a killed process with the next one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.stores.scratch import scratch_folder

HOLD = """
from tasks.stores.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "socket").touch()
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_ends_with_its_block(tmp_path: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == tmp_path and [*folder.iterdir()] == []
        (folder / "deep").mkdir()
    assert [*tmp_path.iterdir()] == []


def test_those_of_a_killed_process_go_those_in_use_stay(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout and process.stdin
        folder = Path(process.stdout.readline().strip())
        with scratch_folder() as own:
            assert (folder / "socket").exists()
            with scratch_folder():
                assert own.is_dir(), "this process's other folder is in use too"
        process.send_signal(signal.SIGKILL)
    with scratch_folder() as own:
        assert [*tmp_path.iterdir()] == [own]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (tmp_path / "expo-scratch-link").symlink_to(elsewhere)
    with scratch_folder():
        assert (elsewhere / "file").exists()


def test_one_whose_process_was_killed_before_its_lock_goes_after_an_hour(tmp_path: Path) -> None:
    old, new = tmp_path / "expo-starting-old", tmp_path / "expo-starting-new"
    for folder in (old, new):
        folder.mkdir()
    hours_ago = time.time() - 2 * 3600
    os.utime(old, (hours_ago, hours_ago))
    with scratch_folder():
        assert new.exists() and not old.exists()
