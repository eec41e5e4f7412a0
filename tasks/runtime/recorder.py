"""Records when the stages of a flow run work, in the process that they run in.

`record_run` records a flow run, `record_stage` each run of a stage within it. A stage on another
machine (a Dask worker's shard) is not seen here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from time import monotonic

from prefect.context import TaskRunContext
from prefect.runtime import flow_run

from tasks.core.timeline import Interval, StageTimes, Timeline, outside, union

__all__ = ["Recorder", "begin_work", "record_run", "record_stage", "take_timeline"]

OWN_ROWS = ("generate", "judge")  # whose runs a plot shows each by itself
KEPT = 1000  # timelines that nobody took: a process that runs families without the flow expo takes none


class _StageRun:
    """A run of a stage in progress; `nested` is the time of the stages that it has called."""

    def __init__(self) -> None:
        self.begin = self.ready = monotonic()
        self.nested: list[Interval] = []


_current: ContextVar["_StageRun | None"] = ContextVar("expo_stage_run", default=None)
_recorders: dict[str, "Recorder"] = {}
_timelines: dict[str, Timeline] = {}


class Recorder:
    """Collects the times of a family's stages, from any thread."""

    def __init__(self, family: str) -> None:
        self._family, self._begin = family, monotonic()
        self._rows: dict[tuple[str, str], tuple[list[Interval], list[Interval]]] = {}
        self._lock = Lock()

    def add(self, stage: str, label: str, run: _StageRun, end: float) -> None:
        """Adds a run of a stage that has ended; the stages within it have rows of their own."""
        work = outside([self._since(run.ready, end)], [self._since(*span) for span in run.nested])
        with self._lock:
            worked, waited = self._rows.setdefault((stage, label), ([], []))
            worked += work
            waited.append(self._since(run.begin, run.ready))

    def timeline(self) -> Timeline:
        """What has been recorded until now."""
        with self._lock:
            rows = tuple(
                StageTimes(stage=stage, label=label, work=union(work), wait=union(wait))
                for (stage, label), (work, wait) in self._rows.items()
            )
            seconds = round(monotonic() - self._begin, 3)
        timed = [row for row in rows if row.work or row.wait]
        timed.sort(key=lambda row: min((*row.work, *row.wait)))
        return Timeline(family=self._family, seconds=seconds, rows=tuple(timed))

    def _since(self, begin: float, end: float) -> Interval:
        return round(begin - self._begin, 6), round(end - self._begin, 6)


@contextmanager
def record_run(family: str) -> Iterator[Recorder]:
    """Records the stages of this flow run; afterwards `take_timeline` has their times."""
    run, recorder = str(flow_run.id), Recorder(family)
    _recorders[run] = recorder
    try:
        yield recorder
    finally:
        del _recorders[run]
        while len(_timelines) >= KEPT:
            del _timelines[next(iter(_timelines))]
        _timelines[run] = recorder.timeline()


@contextmanager
def record_stage(stage: str) -> Iterator[None]:
    """Records this run of a stage, if its flow run is being recorded."""
    context, parent, run = TaskRunContext.get(), _current.get(), _StageRun()
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)
        end = monotonic()
        if parent:
            parent.nested.append((run.begin, end))
        task_run = context.task_run if context else None
        if task_run and (recorder := _recorders.get(str(task_run.flow_run_id))):
            recorder.add(stage, task_run.name if stage in OWN_ROWS else stage, run, end)


def begin_work() -> None:
    """Says that the stage has what it waited for: what it did before was waiting."""
    if run := _current.get():
        run.ready = monotonic()


def take_timeline(run: str) -> Timeline | None:
    """The times of a flow run of this process that has ended, once; None of one that was not recorded."""
    return _timelines.pop(run, None)
