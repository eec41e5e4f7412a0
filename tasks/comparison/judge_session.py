"""What the stages judge and anchors share: a journal that outlives them, and the judge at an address."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks import alpaca, mt_bench
from tasks.benchmarks.budget import Usage, budget_share, check_budget, describe_usage
from tasks.benchmarks.data import mt_bench_files
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.judge_journal import JOURNAL, Journal
from tasks.benchmarks.serving import LOG, serving
from tasks.core.errors import OverBudgetError
from tasks.generate import ENGINE_SLOTS, HAS_GPU
from tasks.instructions import Instructions
from tasks.runtime.events import OVERSPENT, emit
from tasks.runtime.limits import GPUS, JUDGE_REQUESTS, hold
from tasks.runtime.progress import Progress, run_logger
from tasks.stores.artefact import MANIFEST, Artefact

__all__ = ["JudgeSession", "expected_usage", "judge_session", "within_budget"]

KEEP_SECONDS = 30.0  # between two copies of the journal into a store that is not on this machine


class JudgeSession(NamedTuple):
    """Where a judging works.

    folder    for the journal and the judgments
    endpoint  the judge, with an address that answers
    advance   takes the number of requests that are done
    """

    folder: Path
    endpoint: Judge
    advance: Callable[[int], None]

    def usage(self) -> Usage:
        """What was asked of the judge, over all tries; once the judging has ended."""
        with Journal(self.folder / JOURNAL) as journal:
            return journal.usage


@contextmanager
def judge_session(artefact: Artefact, judge: Judge, requests: int) -> Iterator[JudgeSession]:
    """A session for judging into an artefact, with progress over so many requests.

    The journal of an earlier try is found again, also on another machine: into a store that is
    not on this one it is copied every half a minute, and when the judging ends, however it ends.
    """
    folder = artefact.work_dir()
    sync = JournalSync(artefact, folder / JOURNAL)
    progress = Progress(requests, "judgments")

    def advance(amount: int) -> None:
        progress.advance(amount)
        sync.keep_now_and_then()

    gpus = judge.serve.tensor_parallel_size if judge.serve and HAS_GPU else 0
    try:
        with (
            _telling(judge),
            hold(JUDGE_REQUESTS, judge.max_concurrency),
            hold(GPUS, gpus),
            serving(judge, folder / LOG, ENGINE_SLOTS) as endpoint,
        ):
            yield JudgeSession(folder, endpoint, advance)
    finally:
        sync.keep()


def expected_usage(asked: Instructions, judge: Judge) -> Usage:
    """What judging one arm's answers will use, before there are any.

    Raises:
        RetryableError, PermanentError: the benchmark's data cannot be had.
    """
    if asked.benchmark == "mt_bench":
        return mt_bench.expected_usage(mt_bench_files(), judge)
    return alpaca.expected_usage(asked.path(), judge)


def within_budget(judge: Judge, judgings: Sequence[Instructions]) -> dict[Instructions, Judge]:
    """The judge of each judging, with its share of the run's limits; says what all of them will use.

    judgings  what is asked in each, the same instructions once for every arm

    Raises:
        PermanentError: together they pass the limits.
    """
    parts = {asked: expected_usage(asked, judge) for asked in dict.fromkeys(judgings)}
    whole = sum((parts[asked] for asked in judgings), Usage())
    run_logger().info(f"{judge.model} will judge: {describe_usage(judge, whole)}")
    with _telling(judge):
        check_budget(judge, Usage(), whole)
    return {asked: budget_share(judge, part, whole) for asked, part in parts.items()}


@contextmanager
def _telling(judge: Judge) -> Iterator[None]:
    """An event for whoever pays, where the judge's budget does not allow what the block does."""
    try:
        yield
    except OverBudgetError as error:
        emit(OVERSPENT, judge.model, str(error))
        raise


class JournalSync:
    """Carries the journal to the store and back; has nothing to do where the store is this machine's."""

    def __init__(self, artefact: Artefact, journal: Path) -> None:
        self._artefact, self._journal = artefact, journal
        self._kept = time.monotonic()
        if artefact.local is None and not journal.exists() and artefact.size(JOURNAL) is not None:
            artefact.fetch(JOURNAL, journal.parent)

    def keep_now_and_then(self) -> None:
        if time.monotonic() - self._kept >= KEEP_SECONDS:
            self.keep()

    def keep(self) -> None:
        """Puts the journal into the store, where another machine finds it."""
        self._kept = time.monotonic()
        if self._artefact.local is not None or not self._journal.exists():
            return
        if self._artefact.size(MANIFEST) is None:  # else another run has finished it meanwhile
            copy = self._journal.with_suffix(".copy")  # it is being written to while it is sent
            shutil.copyfile(self._journal, copy)
            self._artefact.copy_in(copy, JOURNAL)
