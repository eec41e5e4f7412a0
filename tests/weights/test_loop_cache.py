"""The folder of compiled loops: whatever happens to it, the loops compute what they should."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.weights.loop_cache import DIGEST_BYTES, Loop

ROOT = Path(__file__).parents[2]
MODULE = """
import math


def plus_two(value):
    return value + 2

def total(values):
    found = 0.0
    for value in values:
        found += value
    return found

def mantissa(value):
    return math.frexp(value)[0]

def range_of(values):
    return values[0], values[-1]
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EXPO_COMPILED")
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def load(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Loop]:
    """Makes the loop as a new process would: not loaded yet."""
    (tmp_path / "own_loops.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_loops", raising=False)
    return lambda: Loop("own_loops", "plus_two")


def from_cache(loop: Loop, value: float = 3) -> bool:
    """Computes, and tells whether a process before this one had compiled it."""
    before = loop.made_here
    assert loop(value) == value + 2
    return loop.made_here == before


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_compiled_once_for_all_processes(load: Callable[[], Loop], cache: Path) -> None:
    assert not from_cache(load())
    assert from_cache(load())
    assert [path.suffix for path in files(cache)] == [".code"]


def zero(content: bytes) -> bytes:
    return bytes(len(content))


def nothing(content: bytes) -> bytes:
    return content[:0]


def only_the_digest(content: bytes) -> bytes:
    return content[:DIGEST_BYTES]


def flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [zero, flip, nothing, only_the_digest])
def test_a_damaged_file_is_made_again(
    load: Callable[[], Loop], cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    from_cache(load())
    for path in files(cache):
        path.write_bytes(damage(path.read_bytes()))
    assert not from_cache(load())
    assert from_cache(load())


def test_a_loop_under_another_signatures_name_is_not_used(load: Callable[[], Loop], cache: Path) -> None:
    """As two processes leave it that compiled at once."""
    loop = load()
    from_cache(loop, 3)
    from_cache(loop, 3.5)
    first, second = files(cache)
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    assert not from_cache(load(), 3.5)


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another user, which only root may")
def test_another_users_file_is_not_run(load: Callable[[], Loop], cache: Path) -> None:
    from_cache(load())
    for path in files(cache):
        os.chown(path, 12345, 12345)
    assert not from_cache(load())


def test_a_changed_source_has_a_folder_of_its_own(load: Callable[[], Loop], cache: Path) -> None:
    from_cache(load())
    (cache.parent / "own_loops.py").write_text(f"{MODULE}\n# another version\n")
    assert not from_cache(load())
    assert len({path.parent for path in files(cache)}) == 2


def test_a_folder_that_cannot_be_made_is_done_without(load: Callable[[], Loop], cache: Path) -> None:
    cache.write_text("a file in its place")
    assert not from_cache(load())


def test_a_full_disk_is_done_without(cache: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from tasks.weights.loop_cache import Loop\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "assert Loop('own_loops', 'plus_two')(3) == 5\n"
    )
    (tmp_path / "own_loops.py").write_text(MODULE)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert files(cache) == []


def test_what_a_process_before_compiled_is_run_without_numba(
    load: Callable[[], Loop], tmp_path: Path
) -> None:
    from_cache(load())
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from tasks.weights.loop_cache import Loop\n"
        "assert Loop('own_loops', 'plus_two')(3) == 5\n"
        "assert not {'numba', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.usefixtures("load")
def test_an_array_that_is_not_aligned() -> None:
    values = np.frombuffer(bytes(3) + np.arange(5, dtype=np.float32).tobytes(), np.uint8)[3:].view(np.float32)
    assert not values.flags.aligned
    assert Loop("own_loops", "total")(values) == 10


@pytest.mark.usefixtures("load")
def test_several_values_come_back_as_a_tuple() -> None:
    assert Loop("own_loops", "range_of")(np.array([3, 1, 4], np.uint32)) == (3, 4)


@pytest.mark.usefixtures("load")
def test_an_array_with_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        Loop("own_loops", "total")(np.zeros(8, np.float32)[::2])


@pytest.mark.usefixtures("load")
def test_a_loop_that_calls_what_may_not_be_there_is_refused() -> None:
    """Loaded in another process its code would end it."""
    with pytest.raises(TypeError, match=r"own_loops\.mantissa calls numba_frexp,"):
        Loop("own_loops", "mantissa")(3.0)
