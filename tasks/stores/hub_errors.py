"""Maps Hub exceptions to ExpoError; retries while the Hub is busy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from tasks.core.errors import ExpoError, InputError, PermanentError, RetryableError
from tasks.stores import retry
from tasks.stores.disk import is_full

__all__ = ["hub_errors", "with_retries"]

T = TypeVar("T")

# The HTTP library's own base of a refused, dropped or timed-out connection. The library has another
# name in each major version of the client, so it is taken from where the client takes it.
TRANSPORT_ERRORS: tuple[type, ...] = HfHubHTTPError.__bases__[:1]
BRANCH_MOVED = 412  # between reading it and committing to it


@contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """Raises what the Hub client raises inside as an ExpoError; `where` names the repository and file."""
    try:
        yield
    except ExpoError:
        raise
    except Exception as error:
        known = _translate(error, where)
        if known is None:
            raise
        raise known from error


def with_retries(where: str, call: Callable[[], T]) -> T:
    """What `call` gives, retried while the Hub is busy: after Retry-After, else 1, 2, 4 s and jitter.

    The client itself retries some requests and not others (no listing, no 503 for a file).
    """

    def translated() -> T:
        with hub_errors(where):
            return call()

    return retry.with_retries(translated, _retry_after)


def _translate(error: BaseException, where: str) -> ExpoError | None:
    """The ExpoError for an exception of the client; None for one that does not come from the Hub."""
    # Order matters: a gated repository's error is also a RepositoryNotFoundError, and all are HTTP errors.
    if isinstance(error, GatedRepoError):
        page = f"{constants.ENDPOINT}/{where.split('@')[0]}"
        return PermanentError(
            f"{where}: access is not granted; accept the license at {page} and set HF_TOKEN (or log in)"
        )
    if isinstance(error, RevisionNotFoundError):
        return InputError(f"{where}: no such revision; check the branch, tag or commit")
    if isinstance(error, RepositoryNotFoundError):
        return InputError(f"{where}: no such repository; check the id, and HF_TOKEN if it is private")
    if isinstance(error, HFValidationError):
        return InputError(f"{where}: not a hub id; give a folder that exists or org/name")
    if isinstance(error, OfflineModeIsEnabled):
        return _offline(where)
    if isinstance(error, LocalEntryNotFoundError | RevisionResolutionError):
        return _not_located(error, where)
    if isinstance(error, EntryNotFoundError):
        return InputError(f"{where}: no such file at this commit; check the revision")
    if isinstance(error, HfHubHTTPError):
        return _by_status(error, where)
    if isinstance(error, TRANSPORT_ERRORS):
        return RetryableError(
            f"{where}: connection to {constants.ENDPOINT} failed ({type(error).__name__}); try again, "
            "or set HF_HUB_OFFLINE=1 if the cache has it"
        )
    if isinstance(error, RuntimeError) and "client has been closed" in str(error):
        # After a failed connection the client closes the session that all threads share.
        return RetryableError(f"{where}: the connection was closed meanwhile; try again")
    if isinstance(error, RuntimeError) and error.__cause__:  # what an upload's threads raise, wrapped
        return _translate(error.__cause__, where)
    return _of_system(error, where)


def _retry_after(error: BaseException | None) -> float | None:
    """The seconds that the server asked to wait, found in the error or what caused it."""
    while error is not None:
        if isinstance(error, HfHubHTTPError):
            value = error.response.headers.get("Retry-After", "").strip()
            return float(value) if value.isdigit() else None
        error = error.__cause__
    return None


def _offline(where: str) -> PermanentError:
    return PermanentError(
        f"{where}: not in the cache {constants.HF_HUB_CACHE}; run once without HF_HUB_OFFLINE=1"
    )


def _not_located(error: Exception, where: str) -> ExpoError:
    """The reason is in the cause: the client wraps every failure to reach the Hub in this error."""
    if constants.is_offline_mode():
        return _offline(where)
    cause = _translate(error.__cause__, where) if error.__cause__ else None
    return cause or RetryableError(f"{where}: the Hub did not answer; try again")


def _by_status(error: HfHubHTTPError, where: str) -> ExpoError:
    status = error.response.status_code
    if status == BRANCH_MOVED or retry.is_retryable(status):
        wait = _retry_after(error)
        after = f" in {wait:.0f} s" if wait is not None else " later"
        return RetryableError(f"{where}: the Hub answered {status}; try again{after}")
    if status in (401, 403):
        return PermanentError(f"{where}: the Hub answered {status}; set HF_TOKEN to a token that may do this")
    said = error.server_message or "no reason given"
    return PermanentError(f"{where}: the Hub answered {status} ({said})")


def _of_system(error: BaseException, where: str) -> ExpoError | None:
    if isinstance(error, OSError) and is_full(error):
        return PermanentError(
            f"{where}: no space left in {constants.HF_HUB_CACHE}; free some or set HF_HOME to a larger disk"
        )
    if isinstance(error, OSError) and error.errno is None:
        # The client's errors about a short body have no errno.
        return RetryableError(f"{where}: {error}")
    return None
