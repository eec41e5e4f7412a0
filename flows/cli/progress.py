"""What a command does around a flow: Prefect's log as progress, and one line if its server does not start."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.core.errors import RetryableError

__all__ = ["explain_missing_server", "show_progress"]

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


def show_progress() -> None:
    """Lets Prefect's log read as progress, on the terminal and in the UI; what the user has set stays."""
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("expo").setLevel(logging.INFO)


@contextmanager
def explain_missing_server() -> Iterator[None]:
    """Around a flow.

    Raises:
        RetryableError: Prefect's temporary server did not start.
    """
    try:
        yield
    except RuntimeError as error:
        if "ephemeral Prefect API server" not in str(error):
            raise
        raise RetryableError(
            "the temporary Prefect server did not start; run again when the machine is less busy, or start "
            "`prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        ) from error
