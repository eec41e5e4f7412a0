"""Engines as forks of one process: kept for the next, ended with their block, and replaced when it died.

The fork server is real but for the import of vLLM; the engines are this module's `main`.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tasks.core.errors import InputError
from tasks.core.values import Value
from tasks.generation import forked
from tasks.generation.fork_server import USED_ON_CPU
from tasks.generation.forked import ForkedEngine, forked_engine
from tests.parts import lacks
from tests.servers.processes import descendants, ended
from tests.waiting import wait_until


class Asked(Value):
    """What the engine of these tests does: it says `word`, and ends with `status` or when it has no input."""

    word: str
    status: int | None = 0


def main(path: str, replies: int) -> int:
    """In the fork."""
    asked = Asked.model_validate_json(Path(path).read_bytes())
    print(asked.word, os.environ["TMPDIR"] == str(Path.cwd()) == str(Path(path).parent))
    os.write(replies, asked.word.encode())
    if asked.status is None:
        os.write(replies, sys.stdin.read().encode())
    return asked.status or 0


class Engines:
    """Starts engines, whose replies can be read."""

    def __init__(self, folder: Path) -> None:
        self.reading, self.writing = os.pipe()
        self.log = folder / "log"

    def start(
        self, asked: Asked, *orders: int, python: str = sys.executable
    ) -> AbstractContextManager[ForkedEngine]:
        return forked_engine(
            __name__,
            asked,
            python=python,
            log=self.log,
            descriptors=[self.writing, *orders],
        )

    def read(self) -> str:
        return os.read(self.reading, 100).decode()


@pytest.fixture
def engines(light_server: None, tmp_path: Path) -> Iterator[Engines]:
    made = Engines(tmp_path)
    yield made
    os.close(made.reading)
    os.close(made.writing)


def servers() -> set[int]:
    """The process ids of this process's fork servers."""
    return {
        process.pid
        for process in psutil.Process().children()
        if "light_fork_server" in str(process.cmdline())
    }


def test_the_next_engine_is_a_fork_of_the_same_process(engines: Engines) -> None:
    seen = []
    for word, status in (("one", 0), ("two", 3)):
        with engines.start(Asked(word=word, status=status)) as engine:
            assert engine.wait() == engine.poll() == status
        assert engines.read() == word
        seen.append((servers(), engine.pid))
    assert seen[0][0] == seen[1][0] and len(seen[0][0]) == 1 and seen[0][1] != seen[1][1]
    assert engines.log.read_text() == "one True\ntwo True\n"
    assert engines.log.stat().st_mode & 0o777 == 0o600


def test_two_at_once_are_forks_of_the_same_process(engines: Engines) -> None:
    reading, writing = os.pipe()
    with engines.start(Asked(word="a", status=None), reading) as first:
        os.close(reading)
        with engines.start(Asked(word="b", status=3)) as second:
            assert second.wait() == 3
        assert first.poll() is None and len(servers()) == 1
        os.write(writing, b"order")
        os.close(writing)
        assert first.wait() == 0
    assert "order" in engines.read()


def test_an_engine_takes_orders_and_ends_with_its_block(engines: Engines) -> None:
    reading, writing = os.pipe()
    with engines.start(Asked(word="ready", status=None), reading) as engine:
        os.close(reading)
        assert engines.read() == "ready" and engine.poll() is None
        assert engine.pid and psutil.pid_exists(engine.pid)
    os.close(writing)
    assert engine.returncode == -signal.SIGKILL and not psutil.pid_exists(engine.pid)
    with engines.start(Asked(word="after")) as after:
        assert after.wait() == 0


def test_a_killed_server_is_the_end_of_its_engine_and_the_next_has_another(engines: Engines) -> None:
    reading, writing = os.pipe()
    with engines.start(Asked(word="ready", status=None), reading) as engine:
        os.close(reading)
        assert engines.read() == "ready"
        (killed,) = servers()
        below = descendants(killed)
        os.kill(killed, signal.SIGKILL)
        assert engine.wait() == -signal.SIGKILL
        wait_until(lambda: all(map(ended, below)), "the engine's end")
    os.close(writing)
    with engines.start(Asked(word="after")) as after:
        assert after.wait() == 0
    (idle,) = servers()
    os.kill(idle, signal.SIGKILL)
    wait_until(lambda: ended(psutil.Process(idle)), "its end")
    with engines.start(Asked(word="again")) as again:
        assert again.wait() == 0


def test_another_environment_takes_another_server(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    with engines.start(Asked(word="before")) as engine:
        engine.wait()
    before = servers()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with engines.start(Asked(word="after")) as engine:
        engine.wait()
    assert len(servers()) == 1 and not servers() & before


def test_a_server_that_cannot_start_ends_its_engine_and_says_why(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked, "SERVER", "tests.generation.no_such_module")
    with engines.start(Asked(word="never")) as engine:
        assert engine.wait() == 1
    assert "no_such_module" in engines.log.read_text()
    with (
        pytest.raises(InputError, match="/no/such/python"),
        engines.start(Asked(word=""), python="/no/such/python"),
    ):
        pass


def test_vllm_has_what_is_done_before_the_forks() -> None:
    """A version without it would start its engines slowly, and nothing else would say so."""
    found = find_spec("vllm")
    if not found or not found.origin:
        lacks("vllm", "vLLM is not installed here")
    package = Path(found.origin).parent
    for module in USED_ON_CPU:
        assert package.parent.joinpath(*module.split(".")).with_suffix(".py").is_file(), module
    assert "= _run_in_subprocess(" in (package / "model_executor/models/registry.py").read_text()
    worker = (package / "v1/worker/worker_base.py").read_text()
    assert "current_platform.register_triton_kernel_overrides()" in worker
