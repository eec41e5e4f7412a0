"""Limits that all runs of a Prefect server share: GPUs, downloads from the Hub, requests to a judge.

`python -m deployments.bootstrap` makes them. A server without them limits nothing, so one
machine needs no set-up.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from httpx import HTTPError, HTTPStatusError
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectNotFound

from tasks.core.errors import InputError, RetryableError
from tasks.generation.devices import ENGINE_SLOTS, ENGINE_TURNS

__all__ = ["GPUS", "HUB_DOWNLOADS", "JUDGE_REQUESTS", "hold", "hold_engine"]

GPUS, HUB_DOWNLOADS, JUDGE_REQUESTS = "expo-gpus", "expo-hub-downloads", "expo-judge-requests"
LEASE_SECONDS = 60.0  # after which a holder that was killed has given its slots back


@contextmanager
def hold(limit: str, count: int = 1) -> Iterator[None]:
    """Holds `count` slots of a limit while the block works, and waits until they are free.

    Outside of a task run, and where the server has no such limit, it does nothing.

    Raises:
        InputError: the limit is smaller than `count`: no waiting would help.
        RetryableError: the server does not answer.
    """
    with ExitStack() as stack:
        if count and TaskRunContext.get() and _exists(limit):
            try:
                stack.enter_context(concurrency(limit, occupy=count, lease_duration=LEASE_SECONDS))
            except ConcurrencySlotAcquisitionError as error:
                raise _refusal(limit, count, error) from error
        yield


@contextmanager
def hold_engine(gpus: int) -> Iterator[None]:
    """Holds what an engine takes: its turn in this process, the cluster's GPUs, and a slot of this process.

    A server that judges takes the GPUs and the slot alone, in this order too, so nobody waits in a circle.
    """
    with ENGINE_TURNS, hold(GPUS, gpus), ENGINE_SLOTS:
        yield


@cache
def _exists(limit: str) -> bool:
    """Asked once, since Prefect warns at every use of a limit that does not exist."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(limit)
        except ObjectNotFound:
            return False
        except HTTPError as error:
            raise RetryableError(f"limit {limit}: the Prefect server does not answer: {error}") from error
    return True


def _refusal(limit: str, count: int, error: ConcurrencySlotAcquisitionError) -> Exception:
    cause = error.__cause__
    if isinstance(cause, HTTPStatusError) and cause.response.status_code == 422:
        return InputError(
            f"limit {limit}: {count} slots are needed at once and it has fewer; "
            f"prefect global-concurrency-limit update {limit} --limit {count}"
        )
    return RetryableError(f"limit {limit}: no slots from the Prefect server: {cause or error}")
