"""A failed run on the terminal: one line for an error of this project, a traceback for any other."""

import io
import logging
from collections.abc import Iterator

import pytest

from flows.cli.progress import hide_own_tracebacks
from tasks.core.errors import ExpoError, PermanentError


@pytest.fixture
def terminal() -> Iterator[io.StringIO]:
    """What a handler of the root logger writes, as Prefect's does."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


def fail(error: Exception) -> None:
    """Fails as a flow run does: its logger says the exception."""
    hide_own_tracebacks()
    try:
        raise error
    except Exception as raised:
        logging.getLogger("prefect").exception("Encountered exception: %r", raised)
        raise


def test_an_error_of_this_project_has_no_traceback(terminal: io.StringIO) -> None:
    with pytest.raises(ExpoError):
        fail(PermanentError("the judge refuses the key"))
    assert terminal.getvalue() == "Encountered exception: PermanentError('the judge refuses the key')\n"


def test_any_other_error_has_one(terminal: io.StringIO) -> None:
    with pytest.raises(KeyError):
        fail(KeyError("x"))
    assert "Traceback (most recent call last)" in terminal.getvalue()
