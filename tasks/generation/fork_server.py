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
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from threading import Event, Thread
from typing import NoReturn, TypeVar

from tasks.core.append_file import PRIVATE
from tasks.core.values import Value
from tasks.generation.engine import end_with, prepare_environment

__all__ = ["ForkRequest", "main"]

MESSAGE_BYTES = 1 << 16
DESCRIPTORS = 3
IDLE_SECONDS = 900
POLL_SECONDS = 0.05  # between two looks whether an engine has ended
LOOK_SECONDS = 1.0  # between two looks whether the caller lives
# what vLLM 0.32 imports only when an engine starts; on a GPU too, but there it might touch CUDA
USED_ON_CPU = (
    "vllm.entrypoints.launchers.cli_args",
    "vllm.model_executor.layers.quantization.online.base",
    "vllm.v1.attention.backends.cpu_attn",
    "vllm.v1.core.sched.scheduler",
    "vllm.v1.worker.cpu_worker",
)

Looked = TypeVar("Looked")


class ForkRequest(Value):
    """An engine that is wanted. Its descriptors come along: for its status, for replies, for orders.

    module  has `main(path, replies)`, which returns the exit status
    path    of what is asked of it
    folder  for it to run in, and for its temporary files and sockets
    log     gets its output, behind what is there
    """

    module: str
    path: str
    folder: str
    log: str


def main(channel: socket.socket) -> None:
    """Forks an engine for each request, until the caller closes its end or asks for none for a while.

    An engine's status gets two lines: `pid N` and, at its end, `status N` (as of `subprocess`).
    """
    parent = os.getppid()
    _import_vllm(parent)
    engines: dict[int, int] = {}  # the descriptors for the status by process id
    idle = 0.0
    while idle < IDLE_SECONDS and os.getppid() == parent:
        wait = POLL_SECONDS if engines else LOOK_SECONDS
        if select.select([channel], [], [], wait)[0]:
            line, descriptors = _receive(channel)
            if not line:
                break
            _start(ForkRequest.model_validate_json(line), descriptors, channel, engines)
        idle = 0.0 if engines else idle + wait
        _reap(engines)
    for pid in engines:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _import_vllm(parent: int) -> None:
    """Imports it, unless the caller dies meanwhile."""
    imported = Event()
    watch = Thread(target=_exit_with, args=(parent, imported))
    watch.start()
    try:
        _import()
        gc.freeze()  # or each child would look through all that was imported, again and again
    finally:
        imported.set()
        watch.join()  # a process with threads is not to be forked


def _import() -> None:
    on_cpu = prepare_environment()
    from transformers import AutoTokenizer  # noqa: F401
    from vllm import LLM  # noqa: F401

    if on_cpu:
        # another version may lack some of it: its engines do that themselves
        with suppress(ImportError, AttributeError):
            _prepare_for_cpu()


def _prepare_for_cpu() -> None:
    """Does once what vLLM does in each engine: two seconds of a core, ten for an architecture's first."""
    for module in USED_ON_CPU:
        import_module(module)
    from vllm.model_executor.models import registry
    from vllm.platforms import current_platform

    # it looks through all modules for kernels that need Triton
    current_platform.register_triton_kernel_overrides()
    type(current_platform).register_triton_kernel_overrides = classmethod(_nothing)
    # a new process looks at a model's class, lest this one touches CUDA
    registry._run_in_subprocess = _run_here


def _nothing(_platform: object) -> None:
    pass


def _run_here(work: Callable[[], Looked]) -> Looked:
    return work()


def _exit_with(parent: int, imported: Event) -> None:
    while not imported.wait(LOOK_SECONDS):
        if os.getppid() != parent:
            os._exit(1)


def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """The next request with its descriptors; empty: there will be none."""
    line, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, DESCRIPTORS)
    while line and not line.endswith(b"\n"):
        more = channel.recv(MESSAGE_BYTES)
        line = line + more if more else b""
    return line, descriptors


def _start(
    request: ForkRequest, descriptors: Sequence[int], channel: socket.socket, engines: dict[int, int]
) -> None:
    status, *others = descriptors
    if (child := os.fork()) == 0:
        for inherited in (channel.fileno(), status, *engines.values()):
            os.close(inherited)
        _be_engine(request, others)
    for descriptor in others:
        os.close(descriptor)
    engines[child] = status
    if not _say(status, b"pid %d\n" % child):  # nobody waits for it any more
        os.kill(child, signal.SIGKILL)


def _reap(engines: dict[int, int]) -> None:
    for pid, status in list(engines.items()):
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            _say(status, b"status %d\n" % os.waitstatus_to_exitcode(code))
            os.close(engines.pop(pid))


def _say(status: int, line: bytes) -> bool:
    """Whether somebody hears it."""
    try:
        os.write(status, line)
    except BrokenPipeError:
        return False
    return True


def _be_engine(request: ForkRequest, descriptors: Sequence[int]) -> NoReturn:
    """In the fork: a process as `python -m module path` would be, in a session of its own."""
    status = 1
    try:
        server = os.getppid()
        os.setsid()
        end_with(server)
        replies, *orders = descriptors
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
    main(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)
