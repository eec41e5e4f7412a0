"""A resumable judging: its folder, its journal kept in the store, and the judge's address."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks.budget import Usage, budget_share, check_budget
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.judge_journal import JOURNAL, Journal
from tasks.benchmarks.registry import find_benchmark
from tasks.benchmarks.serving import LOG, serving
from tasks.comparison.instructions import Instructions
from tasks.comparison.results import FinishedJudging
from tasks.generation.devices import ENGINE_SLOTS, HAS_GPU
from tasks.stores.artefact import MANIFEST, Artefact

__all__ = [
    "JudgeNeeds",
    "JudgeSession",
    "expected_usage",
    "judge_needs",
    "judge_session",
    "reopened",
    "seal_judging",
    "within_budget",
]

KEEP_SECONDS = 30.0  # between two copies of the journal into a store that is not on this machine


class JudgeSession(NamedTuple):
    """A judging in progress.

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


class JudgeNeeds(NamedTuple):
    """The slots of shared limits that a judging takes: concurrent requests, and GPUs of a local judge."""

    model: str
    requests: int
    gpus: int


def judge_needs(judge: Judge) -> JudgeNeeds:
    """What judging by this judge takes; a benchmark's own rule takes nothing."""
    gpus = judge.serve.tensor_parallel_size if judge.serve and HAS_GPU else 0
    return JudgeNeeds(judge.model, 0 if judge.is_rule else judge.max_concurrency, gpus)


@contextmanager
def judge_session(artefact: Artefact, judge: Judge, advance: Callable[[int], None]) -> Iterator[JudgeSession]:
    """A session for judging into an artefact; `advance` gets the number of requests that are done.

    The journal of an earlier try is found again, also on another machine: into a store that is
    not on this one it is copied every half a minute, and when the judging ends, however it ends.
    """
    folder = artefact.work_dir()
    sync = JournalSync(artefact, folder / JOURNAL)

    def advance_and_sync(amount: int) -> None:
        advance(amount)
        sync.keep_when_due()

    try:
        with serving(judge, folder / LOG, ENGINE_SLOTS) as endpoint:
            yield JudgeSession(folder, endpoint, advance_and_sync)
    finally:
        sync.keep()


@contextmanager
def reopened(artefact: Artefact, finished: bytes | None) -> Iterator[None]:
    """Without its manifest while the block judges again; where that fails, it is sealed as it was.

    finished  its manifest, None for a judging that is not finished
    """
    if finished:
        artefact.remove(MANIFEST)
    try:
        yield
    except BaseException:
        if finished:
            artefact.seal(finished)
        raise


def seal_judging(artefact: Artefact, judgments: Path, manifest: FinishedJudging) -> None:
    """Finishes a judging: its file of judgments is in the store, wherever that is, before the manifest."""
    if artefact.local is None:
        artefact.copy_in(judgments, judgments.name)
    artefact.seal(manifest.model_dump_json(indent=1).encode())


def expected_usage(asked: Instructions, judge: Judge) -> Usage:
    """What judging one arm's answers will use, before there are any.

    Raises:
        RetryableError, PermanentError: the benchmark's data cannot be had.
    """
    return find_benchmark(asked.benchmark).expected_usage(judge, asked.path()) or Usage()


def within_budget(
    judges: Mapping[str, Judge], judgings: Sequence[Instructions]
) -> tuple[dict[Instructions, Judge], dict[Judge, Usage]]:
    """The judge of each judging with its share of its run's limits, and what each judge will be used for.

    judges    by benchmark
    judgings  what is asked in each, the same instructions once for every generation

    Raises:
        OverBudgetError: together they pass a judge's limits.
    """
    parts = {asked: expected_usage(asked, judges[asked.benchmark]) for asked in dict.fromkeys(judgings)}
    whole: dict[Judge, Usage] = {}
    for asked in judgings:
        judge = judges[asked.benchmark]
        whole[judge] = whole.get(judge, Usage()) + parts[asked]
    for judge, usage in whole.items():
        check_budget(judge, Usage(), usage)
    shares = {
        asked: budget_share(judges[asked.benchmark], part, whole[judges[asked.benchmark]])
        for asked, part in parts.items()
    }
    return shares, whole


class JournalSync:
    """Copies the journal to a remote store and back; does nothing for a store on this machine."""

    def __init__(self, artefact: Artefact, journal: Path) -> None:
        self._artefact, self._journal = artefact, journal
        self._kept = time.monotonic()
        if artefact.local is None and not journal.exists() and artefact.size(JOURNAL) is not None:
            artefact.fetch(JOURNAL, journal.parent)

    def keep_when_due(self) -> None:
        """Keeps the journal if that was last done half a minute ago."""
        if time.monotonic() - self._kept >= KEEP_SECONDS:
            self.keep()

    def keep(self) -> None:
        """Copies the journal into the store, where another machine finds it."""
        self._kept = time.monotonic()
        if self._artefact.local is not None or not self._journal.exists():
            return
        if self._artefact.size(MANIFEST) is None:  # else another run has finished it meanwhile
            copy = self._journal.with_suffix(".copy")  # it is being written to while it is sent
            shutil.copyfile(self._journal, copy)
            self._artefact.copy_in(copy, JOURNAL)
