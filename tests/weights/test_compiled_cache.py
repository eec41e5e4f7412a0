"""The folder of compiled loops: whatever happens to it, the loops compute what they should."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.weights.compiled_cache import DIGEST_BYTES, kept

ROOT = Path(__file__).parents[2]
MODULE = "def plus_two(value):\n    return value + 2\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def load(tmp_path: Path, cache: Path) -> Callable[[], Any]:
    """Makes the loop as a new process would: imported, not compiled yet."""
    path = tmp_path / "loops.py"
    path.write_text(MODULE)

    def make() -> Any:  # noqa: ANN401 - numba has no types
        spec = importlib.util.spec_from_file_location("loops", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return kept(module.plus_two)

    return make


def from_cache(loop: Any, value: float = 3) -> bool:  # noqa: ANN401
    """Computes, and tells whether a process before this one had compiled it."""
    assert loop(value) == value + 2
    return bool(loop.stats.cache_hits)


def files(cache: Path, kind: str = "*.nb[ic]") -> list[Path]:
    return sorted(cache.rglob(kind))


def test_compiled_once_for_all_processes(load: Callable[[], Any], cache: Path) -> None:
    assert not from_cache(load())
    assert from_cache(load())
    assert [path.suffix for path in files(cache)] == [".nbc", ".nbi"]


def zero(content: bytes) -> bytes:
    return bytes(len(content))


def nothing(content: bytes) -> bytes:
    return content[:0]


def only_the_digest(content: bytes) -> bytes:
    return content[:DIGEST_BYTES]


def flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", [zero, flip, nothing, only_the_digest])
def test_a_damaged_file_is_made_again(
    load: Callable[[], Any], cache: Path, kind: str, damage: Callable[[bytes], bytes]
) -> None:
    from_cache(load())
    for path in files(cache, kind):
        path.write_bytes(damage(path.read_bytes()))
    assert not from_cache(load())
    assert from_cache(load())


def test_a_loop_under_another_signatures_name_is_not_used(load: Callable[[], Any], cache: Path) -> None:
    """As two processes leave it that compiled at once."""
    loop = load()
    from_cache(loop, 3)
    from_cache(loop, 3.5)
    first, second = files(cache, "*.nbc")
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    assert not from_cache(load(), 3.5)


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another user, which only root may")
def test_another_users_file_is_not_run(load: Callable[[], Any], cache: Path) -> None:
    from_cache(load())
    for path in files(cache):
        os.chown(path, 12345, 12345)
    assert not from_cache(load())


def test_a_changed_source_has_a_folder_of_its_own(load: Callable[[], Any], cache: Path) -> None:
    from_cache(load())
    (cache.parent / "loops.py").write_text(f"{MODULE}\n# another version\n")
    assert not from_cache(load())
    assert len({path.parent for path in files(cache)}) == 2


def test_a_folder_that_cannot_be_made_is_done_without(load: Callable[[], Any], cache: Path) -> None:
    cache.write_text("a file in its place")
    assert not from_cache(load())


def test_a_full_disk_is_done_without(cache: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import loops\n"
        "from tasks.weights.compiled_cache import kept\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "assert kept(loops.plus_two)(3) == 5\n"
    )
    (tmp_path / "loops.py").write_text(MODULE)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert files(cache) == []
