"""Engine processes, as forks of one that has imported vLLM and is kept for the next engine.

with forked_engine(module, request, python=python, log=log, descriptors=[writing]) as engine:
    engine.wait()
"""

import atexit
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from tasks.core.child import ENGINE, child_environment, start_module
from tasks.core.values import Value, canonical_json
from tasks.generation.fork_server import ForkRequest
from tasks.stores.scratch import scratch_folder

__all__ = ["ForkedEngine", "forked_engine"]

SERVER = "tasks.generation.fork_server"
LINE_BYTES = 64


class _Origin(NamedTuple):
    """What an engine's process starts with: two that start alike may be forks of one server."""

    python: str
    environment: Mapping[str, str]
    added: Mapping[str, str]


class _ForkServer:
    """A running fork server, for one engine at a time."""

    def __init__(self, origin: _Origin, log: Path) -> None:
        """Starts it; what it says until its first engine runs goes into the engine's log.

        Raises:
            InputError: the interpreter cannot be started.
        """
        self.origin = origin
        self._stack = ExitStack()
        try:
            scratch = self._stack.enter_context(scratch_folder())
            self.channel, its_end = socket.socketpair()
            self._stack.enter_context(self.channel)
            with its_end:
                self.process = start_module(
                    origin.python,
                    SERVER,
                    [str(its_end.fileno())],
                    scratch=scratch,
                    log=log,
                    environment=origin.added,
                    pass_fds=[its_end.fileno()],
                )
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """Ends it; there is no engine any more."""
        self.process.kill()
        self.process.wait()
        self._stack.close()


_idle: list[_ForkServer] = []
_lock = Lock()


class ForkedEngine:
    """An engine's process.

    returncode  as of `subprocess`; None: it runs, or waits until vLLM is imported
    """

    def __init__(self, server: _ForkServer) -> None:
        self._server, self._unread = server, b""
        self.pid: int | None = None
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None: it has not ended."""
        self._read(socket.MSG_DONTWAIT)
        return self.returncode

    def wait(self) -> int:
        """Waits for its end; its exit status."""
        while self.returncode is None:
            self._read(0)
        return self.returncode

    def kill(self) -> None:
        """kill -9, of its workers too; returns at its end."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid or self._server.process.pid, signal.SIGKILL)
            self.wait()

    def _read(self, flags: int) -> None:
        """Takes what the server has said; it has ended with its engine if it says nothing any more."""
        while self.returncode is None:
            try:
                content = self._server.channel.recv(LINE_BYTES, flags)
            except BlockingIOError:
                return
            except ConnectionError:
                content = b""
            if not content:
                self.returncode = self._server.process.wait()
                return
            self._unread += content
            *lines, self._unread = self._unread.split(b"\n")
            for line in lines:
                kind, number = line.split()
                if kind == b"pid":
                    self.pid = int(number)
                else:
                    self.returncode = int(number)
            if flags == 0:
                return


@contextmanager
def forked_engine(
    module: str,
    request: Value,
    *,
    python: str,
    log: Path,
    descriptors: Sequence[int],
    environment: Mapping[str, str] | None = None,
) -> Iterator[ForkedEngine]:
    """Starts an engine, which ends with the block, however that ends.

    Args:
        module: has `main(path of the request, descriptor for replies)`, which returns the exit status.
        log: gets its output, behind what is there; made readable for its owner alone.
        descriptors: for replies and, if it takes orders, its standard input. They may be closed once
            the engine is there.
        environment: variables in addition to those that engines may have.

    Raises:
        InputError: the interpreter cannot be started.
    """
    with scratch_folder() as scratch:
        (scratch / "request.json").write_bytes(canonical_json(request))
        wanted = ForkRequest(
            module=module, path=str(scratch / "request.json"), folder=str(scratch), log=str(log)
        )
        origin = _Origin(python, child_environment(ENGINE), dict(environment or {}))
        engine = ForkedEngine(server := _ask(origin, wanted, descriptors))
        try:
            yield engine
        finally:
            engine.kill()
            _keep(server)


def _ask(origin: _Origin, wanted: ForkRequest, descriptors: Sequence[int]) -> _ForkServer:
    """A server that has been asked for the engine: an idle one, or a new one."""
    message = canonical_json(wanted) + b"\n"
    while server := _take(origin):
        try:
            socket.send_fds(server.channel, [message], descriptors)
            return server
        except OSError:  # it ended meanwhile
            server.close()
    server = _ForkServer(origin, Path(wanted.log))
    with suppress(OSError):  # it has ended already; the engine's status says how
        socket.send_fds(server.channel, [message], descriptors)
    return server


def _take(origin: _Origin) -> _ForkServer | None:
    """An idle server of this origin; those of another environment end, since it has changed for good."""
    with _lock:
        stale = [server for server in _idle if server.origin.environment != origin.environment]
        for server in stale:
            _idle.remove(server)
        found = next((server for server in _idle if server.origin == origin), None)
        if found:
            _idle.remove(found)
    for server in stale:
        server.close()
    return found


def _keep(server: _ForkServer) -> None:
    if server.process.poll() is None:
        with _lock:
            _idle.append(server)
    else:
        server.close()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().close()


def _forget() -> None:
    """In a fork of this process: the servers are its parent's."""
    global _lock
    _lock = Lock()
    _idle.clear()


os.register_at_fork(after_in_child=_forget)
