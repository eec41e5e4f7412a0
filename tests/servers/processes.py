"""The processes that a server or worker has started, which may end while they are looked at."""

import psutil  # type: ignore[import-untyped]


def descendants(pid: int) -> list[psutil.Process]:
    """Every process below `pid`; none when it has ended."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def command_line(process: psutil.Process) -> str:
    """Its arguments in one line; empty for a process that has ended, also for one not yet waited for."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie too: psutil.ZombieProcess is one
        return ""


def ended(process: psutil.Process) -> bool:
    """Whether it runs no more. A zombie does not run: its parent has only not asked for its status."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill(process: psutil.Process) -> None:
    """kill -9, also of a process that has ended by itself."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
