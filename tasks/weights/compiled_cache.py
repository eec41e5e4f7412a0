"""Where compiled loops wait for the next process: a folder of $EXPO_CACHE, checked before it is used.

numba maps what it finds in its cache as code: a damaged file ends the process, a full disk ends the
run, and two processes that compile at once may leave one loop under the other's name. Here a file
that is not whole, or not this user's, is no file; what cannot be written is compiled by each process.
"""

import hashlib
import logging
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator

from tasks.stores.disk import cache_folder

__all__ = ["kept"]

NUMBA = "NUMBA_CACHE_DIR"  # numba's own variable
DIGEST_BYTES = 32
SHARED = Path(__file__).with_name("compiled.py")  # its functions become part of other modules' loops

_log = logging.getLogger(__name__)


def kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at the first call, or taken from where an earlier process put it; runs without the GIL."""
    compiled = numba.njit(nogil=True)(function)
    compiled._cache = _CheckedCache(function)  # what `cache=True` does, with a cache of our own
    loops: Callable[..., Any] = compiled
    return loops


class _Locator(_CacheLocator):  # type: ignore[misc]
    """A folder for each version of the sources, of numba and of Python."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._line = function.__code__.co_firstlineno
        versions = f"{numba.__version__} {llvmlite.__version__} {sys.version}"
        digest = hashlib.sha256(versions.encode())
        for source in sorted({Path(file), SHARED}):
            digest.update(source.read_bytes())
        root = os.environ.get(NUMBA) or cache_folder() / "compiled"
        self._folder = Path(root) / digest.hexdigest()[:16]

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Locator":
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _CheckedFiles(IndexDataCacheFile):  # type: ignore[misc]
    """Every file begins with the digest of the rest, and every loop has its signature beside it."""

    def save(self, key: object, data: object) -> None:
        super().save(key, (key, data))

    def load(self, key: object) -> object:
        found = super().load(key)
        return found[1] if found is not None and found[0] == key else None

    def _load_index(self) -> dict[object, str]:
        content = _whole(Path(self._index_path))
        index: dict[object, str] = pickle.loads(content) if content is not None else {}
        return index

    def _save_index(self, overloads: dict[object, str]) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump(overloads))

    def _load_data(self, name: str) -> object:
        content = _whole(Path(self._data_path(name)))
        if content is None:
            raise FileNotFoundError(name)
        return pickle.loads(content)

    def _dump(self, value: object) -> bytes:
        content: bytes = super()._dump(value)
        return hashlib.sha256(content).digest() + content


class _CheckedCache(FunctionCache):  # type: ignore[misc]
    """Does without what cannot be read or written."""

    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        impl = self._impl
        self._cache_file = _CheckedFiles(
            self._cache_path, impl.filename_base, impl.locator.get_source_stamp()
        )

    def load_overload(self, signature: object, context: object) -> object:
        try:
            return super().load_overload(signature, context)
        except OSError as error:
            _log.debug("compiled loops cannot be read: %s", error)
            return None

    def save_overload(self, signature: object, data: object) -> None:
        try:
            super().save_overload(signature, data)
        except OSError as error:
            _log.debug("compiled loops cannot be kept, so each process compiles them: %s", error)
            self.disable()


def _whole(path: Path) -> bytes | None:
    """The content of a file that is as it was written, by this user or root; None where there is none."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid not in (os.getuid(), 0):
                return None
            content = file.read()
    except FileNotFoundError:
        return None
    digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None
