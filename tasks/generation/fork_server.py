"""The process that has imported vLLM, and forks an engine for each request.

    python -m tasks.generation.fork_server CHANNEL      CHANNEL: the descriptor of a Unix socket

The import takes ten to thirty seconds of a core, and a run wants an engine for each family, benchmark
and search. Importing vLLM must not touch CUDA, or a fork could not use it; vLLM promises that, and
PYTORCH_NVML_BASED_CUDA_CHECK keeps torch's own question ("is there a GPU?") from doing it.

This module runs under any interpreter that has vllm and pydantic, and imports nothing else of the
project but values and what an engine is made of.
"""

import gc
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn

from tasks.core.append_file import PRIVATE
from tasks.core.values import Value
from tasks.generation.engine import end_with, outlive_thread, prepare_environment

__all__ = ["ForkRequest", "main"]

MESSAGE_BYTES = 1 << 16
IDLE_SECONDS = 900
POLL_SECONDS = 0.05
LOOK_SECONDS = 1.0  # between two looks whether the caller lives


class ForkRequest(Value):
    """An engine that is wanted. Its descriptors come with the message: for replies, then for orders.

    module  has `main(path, replies)`, which returns the exit status
    path    of what is asked of it
    folder  for it to run in, and for its temporary files and sockets
    log     gets its output, behind what is there
    """

    module: str
    path: str
    folder: str
    log: str


class _Message(NamedTuple):
    request: ForkRequest
    descriptors: Sequence[int]


def main(channel: socket.socket, parent: int) -> None:
    """Forks one engine after another, until the caller closes its end or asks for none for a while.

    Of each engine the caller gets two lines: `pid N` and, at its end, `status N` (as of `subprocess`).
    """
    end_with(parent)  # the thread that started this process waits for its first engine
    _import_vllm()
    while message := _next_message(channel, parent):
        child = os.fork()
        if child == 0:
            _be_engine(message, channel)
        for descriptor in message.descriptors:
            os.close(descriptor)
        channel.sendall(b"pid %d\n" % child)
        status = _wait(child, channel, parent)
        outlive_thread()
        channel.sendall(b"status %d\n" % status)


def _import_vllm() -> None:
    on_cpu = prepare_environment()
    from transformers import AutoTokenizer  # noqa: F401
    from vllm import LLM  # noqa: F401

    if on_cpu:
        import vllm.v1.worker.cpu_worker  # noqa: F401
    gc.freeze()  # or each child would look through all that was imported, again and again


def _next_message(channel: socket.socket, parent: int) -> _Message | None:
    """The next request; None: there will be none."""
    waited = 0.0
    while not select.select([channel], [], [], LOOK_SECONDS)[0]:
        waited += LOOK_SECONDS
        if waited > IDLE_SECONDS or os.getppid() != parent:
            return None
    line, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
    while line and not line.endswith(b"\n"):
        more = channel.recv(MESSAGE_BYTES)
        line = line + more if more else b""
    return _Message(ForkRequest.model_validate_json(line), descriptors) if line else None


def _wait(child: int, channel: socket.socket, parent: int) -> int:
    """The status of an engine. It ends with the caller, who sends nothing while it runs."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if select.select([channel], [], [], POLL_SECONDS)[0] or os.getppid() != parent:
            os.killpg(child, signal.SIGKILL)
            os._exit(1)


def _be_engine(message: _Message, channel: socket.socket) -> NoReturn:
    """In the fork: a process as `python -m module path` would be, in a session of its own."""
    status = 1
    try:
        server = os.getppid()
        os.setsid()
        end_with(server)
        channel.close()
        request, (replies, *orders) = message
        log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for descriptor in orders:
            os.dup2(descriptor, 0)
        os.chdir(request.folder)
        os.environ["TMPDIR"] = tempfile.tempdir = request.folder
        status = import_module(request.module).main(request.path, replies)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # vLLM's modules take a second to take apart


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), os.getppid())
    os._exit(0)
