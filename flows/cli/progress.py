"""For commands that run a flow: formats Prefect's log as progress."""

import logging
import os

from tasks.core.errors import ExpoError

__all__ = ["hide_own_tracebacks", "is_quiet", "set_quiet", "show_progress"]

PREFECT_SETTINGS = {
    "PREFECT_LOGGING_EXTRA_LOGGERS": "expo",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": "%(asctime)s  %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  %(flow_run_name)s: %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_run_name)s: %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%H:%M:%S",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",  # a busy machine, not a broken one
    "DO_NOT_TRACK": "1",
}


QUIET = {"PREFECT_LOGGING_LEVEL": "WARNING"}
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Whether this process shows no progress: no bars, and of the log warnings and errors alone."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """See `set_quiet`."""
    return _quiet


def show_progress() -> None:
    """Formats Prefect's log as progress, on the terminal and in the UI; the user's own settings win."""
    for name, value in (PREFECT_SETTINGS | (QUIET if _quiet else {})).items():
        os.environ.setdefault(name, value)
    logging.getLogger("expo").setLevel(logging.WARNING if _quiet else logging.INFO)


def hide_own_tracebacks() -> None:
    """Makes this project's own errors one line each on the terminal; in the UI they have a traceback.

    Once a flow is imported: then Prefect's handler is there.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(_without_own_traceback)


def _without_own_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], ExpoError):
        record.exc_info = record.exc_text = None
    return True
