"""The cache: trained once, by one process, and never half."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import InputError
from tasks.demo.checkpoints import prepare
from tasks.demo.provider import find, serve_judge
from tasks.demo.training import Training
from tests.waiting import LIMIT

RUN = """
import os, signal, sys
from tasks.demo.checkpoints import prepare
from tasks.demo.training import Training

def advance(what, done, steps):
    print(what, done, flush=True)
    if f"{what} {done}" == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

prepare(advance, Training.model_validate_json(sys.argv[1]))
"""


def start(training: Training, killed_at: str = "") -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", RUN, training.model_dump_json(), killed_at]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_train_once(cache: Path, short: Training) -> None:
    both = [start(short), start(short)]
    outputs = [process.communicate(timeout=LIMIT)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(len(output.splitlines()) for output in outputs) == [
        0,
        short.sft_steps + short.dpo_steps + 2,
    ]


@pytest.mark.slow
def test_a_killed_training_leaves_nothing_behind(
    cache: Path, short: Training, caplog: pytest.LogCaptureFixture
) -> None:
    process = start(short, killed_at="dpo 1")
    process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGKILL
    assert [path for path in cache.rglob("sft") if path.is_dir()], "killed too early to leave anything"
    with caplog.at_level(logging.INFO, logger="expo"):
        family = prepare(training=short)
    folders = [path for path in (cache / "demo").iterdir() if path.is_dir()]
    assert folders == [family.sft.parent]
    assert any("sft 6/6, 0 s left" in record.getMessage() for record in caplog.records)


def test_another_setting_is_another_family(cache: Path, short: Training) -> None:
    first = prepare(training=short)
    second = prepare(training=short.model_copy(update={"dpo_steps": 1}))
    assert first.sft != second.sft
    assert prepare(advance=None, training=short) == first


@pytest.mark.parametrize("uri", ["demo:", "demo:original", "demo:instructions/../x"])
def test_other_names_are_refused(uri: str, cache: Path) -> None:
    with pytest.raises(InputError, match=r"demo:aligned, demo:sft, demo:instructions, demo:alphas"):
        find(uri)
    with pytest.raises(InputError, match="judge is demo:rule"), serve_judge(uri):
        pass
    assert not list(cache.iterdir()), "a wrong name starts no training"


def test_importing_is_light() -> None:
    code = (
        "import sys, tasks.demo.provider, tasks.demo.checkpoints, tasks.demo.rule_judge\n"
        "print({'torch', 'transformers'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
