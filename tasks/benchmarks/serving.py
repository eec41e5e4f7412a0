"""A judge at an address, for as long as it is needed: one that the run serves itself is started here.

    with serving(judge, folder / "judge.log") as endpoint: …      endpoint.base_url answers

Two judgings at once by the same served judge share one server; the last of them ends it.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Lock
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.benchmarks.reasoning import reasoning_parser
from tasks.core.child import start_module
from tasks.core.errors import RetryableError
from tasks.core.providers import provider_of
from tasks.core.worker import check_trusted
from tasks.generation.interpreter import engine_python
from tasks.stores.scratch import scratch_folder

__all__ = ["LOG", "serving"]

LOG = "judge.log"
START_LIMIT = 1800  # seconds for a server to load its model
POLL = 0.25  # seconds
GRACE = 10  # seconds to end by itself
TAIL = 20  # lines
DIRECT = build_opener(ProxyHandler({}))  # a proxy is no way to this machine


@contextmanager
def serving(judge: Judge, log: Path, slot: AbstractContextManager[object] | None = None) -> Iterator[Judge]:
    """The judge with an endpoint that answers, until the block ends.

    log   where a server that is started writes
    slot  held as long as that server runs: it takes a GPU whole

    Raises:
        InputError, PermanentError: the checkpoint to serve cannot be opened.
        RetryableError: the server ended before it answered; the message has the log's last lines.
    """
    if judge.base_url and (provider := provider_of(judge.base_url)):
        with provider.serve_judge(judge.base_url) as url:
            yield judge.model_copy(update={"base_url": url})
    elif judge.serve is None or judge.base_url is not None:
        yield judge
    else:
        with _shared(judge.serve, judge.model, log, slot or nullcontext()) as url:
            yield judge.model_copy(update={"base_url": url})


class _Entry:
    """A server that judgings share: how many use it, and what has to be undone after the last."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.users = 0
        self.url = ""
        self.stack = ExitStack()


_entries: dict[tuple[ServeConfig, str], _Entry] = {}


@contextmanager
def _shared(
    served: ServeConfig, model: str, log: Path, slot: AbstractContextManager[object]
) -> Iterator[str]:
    entry = _entries.setdefault((served, model), _Entry())
    with entry.lock:
        if not entry.users:
            with ExitStack() as stack:
                stack.enter_context(slot)
                entry.url = stack.enter_context(_server(served, model, log))
                entry.stack = stack.pop_all()
        entry.users += 1
    try:
        yield entry.url
    finally:
        with entry.lock:
            entry.users -= 1
            if not entry.users:
                entry.stack.close()


@contextmanager
def _server(served: ServeConfig, model: str, log: Path) -> Iterator[str]:
    """A vLLM server on loopback that answers; it ends with the block, or with this process."""
    from tasks.stores.open import open_source

    source = open_source(served.checkpoint)
    if served.trust_remote_code:
        check_trusted(served.checkpoint, source.checkpoint.commit)
    folder, parser = source.folder(), reasoning_parser(served.reasoning_parser, source)
    port = _free_port()
    with scratch_folder() as scratch:
        process = start_module(
            engine_python(),
            "tasks.benchmarks.vllm_server",
            _arguments(served, folder, model, port, parser),
            scratch=scratch,
            log=log,
            stdin=subprocess.PIPE,  # ends with this process, and the server with it
        )
        try:
            _wait_until_it_answers(process, f"http://127.0.0.1:{port}/v1/models", model, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _end(process)


def _arguments(served: ServeConfig, folder: Path, model: str, port: int, parser: str | None) -> list[str]:
    arguments = [f"--model={folder}", f"--served-model-name={model}", "--host=127.0.0.1", f"--port={port}"]
    arguments += [
        f"--tensor-parallel-size={served.tensor_parallel_size}",
        f"--gpu-memory-utilization={served.gpu_memory_utilization}",
        "--uvicorn-log-level=warning",
    ]
    if served.max_model_len is not None:
        arguments.append(f"--max-model-len={served.max_model_len}")
    if served.trust_remote_code:
        arguments.append("--trust-remote-code")
    if parser is not None:
        arguments.append(f"--reasoning-parser={parser}")
    return arguments


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str, model: str, log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while not _answers(url, model):
        if process.poll() is not None:
            raise RetryableError(
                f"judge {model}: its server ended with exit status {process.returncode} before it answered; "
                f"see {log}\n{_tail(log)}"
            )
        if time.monotonic() > end:
            raise RetryableError(f"judge {model}: no answer from its server in {START_LIMIT} s; see {log}")
        time.sleep(POLL)


def _answers(url: str, model: str) -> bool:
    try:
        with DIRECT.open(url, timeout=5) as answer:
            return model in {served["id"] for served in json.load(answer)["data"]}
    except (URLError, OSError, ValueError):
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Asks the server to end, and then sees to it that nothing of it is left."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])
