"""Maps the exceptions of S3 and its client to ExpoError, by what to do next."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import botocore.exceptions as boto  # type: ignore[import-untyped]

from tasks.core.errors import ExpoError, InputError, PermanentError, RetryableError
from tasks.core.worker import without_credentials
from tasks.stores.retry import is_retryable

__all__ = ["code_of", "s3_errors"]

WRONG_INPUT = (boto.ParamValidationError, boto.InvalidRegionError, boto.UnknownEndpointError)
NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound)


@contextmanager
def s3_errors(uri: str) -> Iterator[None]:
    """Raises what S3's client raises inside as an ExpoError; a missing object stays FileNotFoundError."""
    try:
        yield
    except ExpoError:
        raise
    except (OSError, boto.BotoCoreError, boto.ClientError, aiohttp.ClientError, ValueError) as error:
        known = _translate(error, uri)
        if known is None:
            raise
        raise known from error


def code_of(error: BaseException) -> tuple[str, int]:
    """S3's error code and HTTP status behind an error of the client, ("", 0) if there is none."""
    said: Any = getattr(error.__cause__, "response", None) or getattr(error, "response", None) or {}
    status = said.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return said.get("Error", {}).get("Code", ""), status


def _translate(error: Exception, uri: str) -> ExpoError | None:
    code, status = code_of(error)
    if code == "NoSuchBucket":
        return InputError(f"{uri}: no such bucket; create it, or check the store's uri")
    if isinstance(error, FileNotFoundError | FileExistsError):
        return None
    if isinstance(error, PermissionError | boto.ClientError) and status in (401, 403):
        return PermanentError(
            f"{uri}: access denied ({code or status}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            "and what they may do with this bucket"
        )
    if isinstance(error, NO_CREDENTIALS):
        return PermanentError(f"{uri}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if isinstance(error, WRONG_INPUT) or code in ("InvalidBucketName", "PermanentRedirect"):
        return InputError(f"{uri}: {error}; check the store's uri, AWS_REGION and AWS_ENDPOINT_URL")
    if code == "PreconditionFailed":
        return PermanentError(f"{uri}: the object has changed since it was listed; start the run again")
    if is_retryable(status):
        return RetryableError(f"{uri}: the object store answered {status} ({code}); try again later")
    if isinstance(error, boto.BotoCoreError | aiohttp.ClientError | TimeoutError | ConnectionError):
        endpoint = without_credentials(os.environ.get("AWS_ENDPOINT_URL", "AWS"))
        return RetryableError(
            f"{uri}: no connection to {endpoint} ({type(error).__name__}); "
            "try again, or check AWS_ENDPOINT_URL"
        )
    if status:
        return PermanentError(f"{uri}: the object store refused ({code or status}: {error})")
    return None
