"""Ctrl-C, SIGTERM and kill -9: what a command leaves behind, and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.servers.prefect import make_database
from tests.waiting import LIMIT, wait_until

MESSAGE = "interrupted: what is finished is kept, and the same command continues from there\n"
ENDINGS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def heed_interrupts() -> None:
    """Undoes the `&` or nohup behind which these tests may run: there a child ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(code: str) -> "subprocess.Popen[str]":
    """Runs Python code that prints `ready` once it may be interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    assert process.stdout and process.stdout.readline() == "ready\n", process.communicate()
    return process


def interrupted(code: str, number: signal.Signals) -> tuple[int, str]:
    """The exit status of code that gets a signal once it is ready, and what it says on stderr."""
    with start(code) as command:
        command.send_signal(number)
        _, errors = command.communicate(timeout=LIMIT)
    return command.returncode, errors


@pytest.mark.parametrize(("number", "status"), ENDINGS)
def test_a_command_whose_threads_wait_for_nobody_ends(number: signal.Signals, status: int) -> None:
    code = (
        "import threading; from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "from flows.cli.interrupts import ends_on_signals\n"
        "with ends_on_signals(), Pool(1) as pool:\n"
        "    pool.submit(threading.Event().wait); print('ready', flush=True)\n"
    )
    assert interrupted(code, number) == (status, MESSAGE)


@pytest.mark.parametrize(("number", "status"), ENDINGS)
def test_a_library_with_a_handler_of_its_own_does_not_keep_it(number: signal.Signals, status: int) -> None:
    """As Prefect's: it turns the signal into an error of its own, and this into another."""
    code = (
        "import signal, time; from flows.cli.interrupts import ends_on_signals\n"
        "def handle(*_): raise RuntimeError('cancelled')\n"
        "with ends_on_signals():\n"
        f"    signal.signal({int(number)}, handle); print('ready', flush=True)\n"
        "    try:\n"
        "        while True: time.sleep(1)\n"
        "    except RuntimeError: time.sleep(1000)\n"
    )
    assert interrupted(code, number) == (status, MESSAGE)


def test_the_block_gets_a_moment_to_end_its_children(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from flows.cli import interrupts\n"
        "interrupts.GRACE_SECONDS = 1000  # however busy the machine is\n"
        "with interrupts.ends_on_signals():\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(1000)\n"
        f"    finally: Path({str(tmp_path / 'ended')!r}).touch()\n"
    )
    status, _ = interrupted(code, signal.SIGTERM)
    assert status == 143 and (tmp_path / "ended").exists()


def test_it_gets_it_too_where_it_heeds_the_signal_late(tmp_path: Path) -> None:
    """After the thread that watches for signals: here the main thread computes in C when the signal comes."""
    code = (
        "import os, signal, threading, time; from hashlib import pbkdf2_hmac; from pathlib import Path\n"
        "from flows.cli import interrupts\n"
        "interrupts.GRACE_SECONDS, begun = 1000, threading.Event()\n"
        "def end(): begun.wait(); os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=end, daemon=True).start()\n"
        "with interrupts.ends_on_signals():\n"
        "    try:\n"
        "        print('ready', flush=True); begun.set(); pbkdf2_hmac('sha256', b'', b'', 2_000_000)\n"
        "        time.sleep(1000)\n"
        f"    finally: Path({str(tmp_path / 'ended')!r}).touch()\n"
    )
    with start(code) as command:
        command.communicate(timeout=LIMIT)
    assert command.returncode == 143 and (tmp_path / "ended").exists()


def test_a_signal_that_nohup_has_ignored_stays_ignored() -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from flows.cli.interrupts import ends_on_signals\n"
        "with ends_on_signals():\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('ready', flush=True)\n"
    )
    with start(code) as command:
        command.communicate(timeout=LIMIT)
    assert command.returncode == 0


def test_signals_are_what_they_were_after_the_block() -> None:
    from flows.cli.interrupts import ends_on_signals

    before = [signal.getsignal(number) for number, _ in ENDINGS]
    with ends_on_signals():
        assert [signal.getsignal(number) for number, _ in ENDINGS] != before
    assert [signal.getsignal(number) for number, _ in ENDINGS] == before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [*ENDINGS, (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_is_ended_leaves_no_server(number: signal.Signals, status: int, tmp_path: Path) -> None:
    environment = {"PREFECT_HOME": str(tmp_path / "prefect"), "EXPO_CACHE": str(tmp_path / "cache")}
    make_database(tmp_path / "prefect")
    command = [sys.executable, "-m", "flows.cli", "run", "demo", "--store", str(tmp_path / "store")]
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            env=os.environ | environment,
            stderr=output,
            start_new_session=True,
            preexec_fn=heed_interrupts,
        ) as run,
    ):
        wait_until(lambda: "Beginning flow run" in log.read_text() or run.poll() is not None, "the flow")
        children = psutil.Process(run.pid).children(recursive=True)
        assert any("tasks.runtime.local_server_process" in child.cmdline() for child in children)
        run.send_signal(number)
        run.wait(LIMIT)
    errors = log.read_text()
    assert run.returncode == status, errors
    wait_until(lambda: not any(map(is_running, children)), "the end of all children")
    if number != signal.SIGKILL:
        assert errors.endswith(MESSAGE) and errors.count("interrupted") == 1
        assert "Traceback" not in errors


def is_running(process: psutil.Process) -> bool:
    """Whether a process still does something; a zombie, which waits for this test's machine, does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
