"""Loops compiled by numba once, and kept for the next process.

numba's import, and its reading of what it compiled before, take more than a second of every process; LLVM
alone loads the same code in 0.1 s. A file of a loop, in a folder of $EXPO_CACHE for each version of
everything that decides its code:

    sha256 of the rest | a line of JSON: `CodeHeader` | object code

It is code that this process runs. So a file that is not whole, or not this user's, is no file, and one of
other arguments, under whatever name, is not used. What cannot be written is compiled by each process.
"""

import hashlib
import logging
import os
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite.binding as llvm

from tasks.core.values import canonical_json
from tasks.stores.disk import cache_folder, whole_file
from tasks.weights.machine_code import Argument, CodeHeader, MachineCode, argument_of

__all__ = ["DIGEST_BYTES", "Loop"]

FOLDER = "EXPO_COMPILED"  # in place of the cache's own folder: tests with a cache of their own share one
DIGEST_BYTES = 32
SHARED = "tasks.weights.loops"  # its functions become part of the other modules' loops

_log = logging.getLogger(__name__)
_one_at_a_time = Lock()


class Loop:
    """A function of a module of loops, for whatever arguments it is called with; safe to call from threads.

    made_here  for how many kinds of arguments this process had to compile it
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._codes: dict[tuple[Argument, ...], MachineCode] = {}
        self.made_here = 0

    def __call__(self, *values: Any) -> Any:  # noqa: ANN401 - what the loop takes and gives
        """Runs it without the interpreter's lock; arrays must be contiguous, in C order.

        Raises:
            ValueError: an array is not.
        """
        arguments = tuple(argument_of(value) for value in values)
        if arguments not in self._codes:
            with _one_at_a_time:
                if arguments not in self._codes:
                    self._codes[arguments] = MachineCode(*self._kept(arguments))
        return self._codes[arguments](values)

    def _kept(self, arguments: tuple[Argument, ...]) -> tuple[CodeHeader, bytes]:
        """The code, from the disk or compiled now and put there."""
        key = hashlib.sha256(repr(arguments).encode()).hexdigest()[:16]
        path = _folder(self._module) / f"{self._name}-{key}.code"
        try:
            found = _read(path)
        except OSError as error:
            _log.debug("a compiled loop cannot be read: %s", error)
            found = None
        if found and found[0].arguments == arguments:
            return found
        from tasks.weights.loop_compiler import compile_loop  # imports numba

        header, code = compile_loop(self._module, self._name, arguments)
        self.made_here += 1
        content = canonical_json(header) + b"\n" + code
        try:
            with whole_file(path) as part:
                part.write_bytes(hashlib.sha256(content).digest() + content)
        except OSError as error:
            _log.debug("a compiled loop cannot be kept, so each process compiles it: %s", error)
        return header, code


def _folder(module: str) -> Path:
    """Of everything that decides the code: sources, numba, Python, and this processor."""
    cpu = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    digest = hashlib.sha256(f"{version('numba')} {version('llvmlite')} {sys.version} {cpu}".encode())
    for name in sorted({module, SHARED}):
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None
        digest.update(Path(spec.origin).read_bytes())
    root = os.environ.get(FOLDER) or cache_folder() / "compiled"
    return Path(root) / digest.hexdigest()[:16]


def _read(path: Path) -> tuple[CodeHeader, bytes] | None:
    """The content of a file that is as it was written, by this user or root; None where there is none."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid not in (os.getuid(), 0):
                return None
            content = file.read()
    except FileNotFoundError:
        return None
    digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        return None
    header, _, code = content.partition(b"\n")
    return CodeHeader.model_validate_json(header), code
