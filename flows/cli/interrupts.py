"""Ctrl-C and SIGTERM end a command within a second or two, whatever its threads wait for.

What a command has finished is kept, as after any kill, so nothing has to be put in order first. The
main thread still gets a moment, in which Prefect notes that the run has ended.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import sleep
from types import FrameType
from typing import NoReturn

__all__ = ["Interrupted", "ends_on_signals"]

GRACE_SECONDS = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
MESSAGE = b"interrupted: what is finished is kept, and the same command continues from there\n"
BLOCK_ENDED = b"\0"  # no signal's number
SHOW_CURSOR = b"\x1b[?25h"  # a progress bar has hidden it


class Interrupted(BaseException):
    """Raised in the main thread; no library takes it for a KeyboardInterrupt of its own."""


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """Exits with 130 after Ctrl-C and 143 after SIGTERM, with one line, from anywhere in the block."""
    interrupt = _Interrupt()
    # Written to by the handler of any signal, also by one that a library installs later.
    wakeup_before = signal.set_wakeup_fd(interrupt.writing, warn_on_full_buffer=False)
    # A signal that whoever started the command has had ignored (nohup, a shell's &) stays ignored.
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt.handle) for number in heeded}
    Thread(target=interrupt.watch, daemon=True).start()
    try:
        yield
    finally:
        interrupt.exit_if_signalled()
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(interrupt.writing)


class _Interrupt:
    """The first signal, and the end of the process that follows it."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        self._settled = Event()
        self._number = 0
        self._raised = False

    def handle(self, number: int, _frame: FrameType | None) -> NoReturn:
        """Interrupts the main thread; the second signal does not wait for it."""
        if self._raised:  # not `_number`: `watch` may know of the first signal before the main thread does
            _exit(number)
        self._raised = True
        os.write(self.writing, bytes([number]))
        raise Interrupted

    def watch(self) -> None:
        """Waits for the first signal or the block's end, in a thread of its own."""
        while number := os.read(self._reading, 1)[0]:
            if number in SIGNALS:
                self._end(number)
        os.close(self._reading)
        self._settled.set()

    def exit_if_signalled(self) -> None:
        """Ends the process if a signal has come: then its number lies in the pipe before the block's end."""
        os.write(self.writing, BLOCK_ENDED)
        self._settled.wait()
        if self._number:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            _exit(self._number)

    def _end(self, number: int) -> NoReturn:
        os.write(2, b"\n" + MESSAGE if os.isatty(2) else MESSAGE)
        # One line is enough: what libraries say of the end is no news.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        self._number = number
        self._settled.set()
        sleep(GRACE_SECONDS)
        _exit(number)


def _exit(number: int) -> NoReturn:
    if os.isatty(1):
        os.write(1, SHOW_CURSOR)
    os._exit(128 + number)
