"""When the stages of a family's run worked and when they waited, as intervals of its seconds."""

from collections.abc import Iterable

from pydantic import Field

from tasks.core.values import Value

__all__ = ["Interval", "StageTimes", "Timeline", "length", "outside", "union"]

Interval = tuple[float, float]
"""Begin and end, in seconds since the family's run began."""


class StageTimes(Value):
    """When a stage worked, or the run of a stage that a plot shows by itself; disjoint, rising intervals.

    stage  as `failed_stage` names it; label: what a plot calls it
    wait   for a slot of a limit, an engine's or a download's, before it worked
    """

    stage: str
    label: str
    work: tuple[Interval, ...] = ()
    wait: tuple[Interval, ...] = ()


class Timeline(Value):
    """The time of a family's run, from its begin to its end; `rows` in the order of their begin."""

    family: str
    seconds: float = Field(ge=0)
    rows: tuple[StageTimes, ...]

    @property
    def slowest(self) -> tuple[str, float] | None:
        """The stage that worked for longest, all its runs together, and for how many seconds."""
        stages = dict.fromkeys(row.stage for row in self.rows)
        busy = {stage: length(self._of(stage)) for stage in stages}
        return max(busy.items(), key=lambda item: item[1]) if busy else None

    @property
    def in_no_stage(self) -> float:
        """Seconds in which no stage worked or waited: orchestration's own."""
        return max(0.0, self.seconds - length(span for row in self.rows for span in (*row.work, *row.wait)))

    @property
    def only_waiting(self) -> float:
        """Seconds in which stages waited and none worked."""
        work = [span for row in self.rows for span in row.work]
        return length(outside((span for row in self.rows for span in row.wait), work))

    def _of(self, stage: str) -> list[Interval]:
        return [span for row in self.rows if row.stage == stage for span in row.work]


def union(spans: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same time as disjoint intervals, rising; empty ones left out."""
    merged: list[Interval] = []
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def outside(spans: Iterable[Interval], taken: Iterable[Interval]) -> tuple[Interval, ...]:
    """The time of the spans that none of the taken intervals covers."""
    holes = union(taken)
    left: list[Interval] = []
    for begin, end in union(spans):
        at = begin
        for hole_begin, hole_end in holes:
            if hole_end <= at or hole_begin >= end:
                continue
            left.append((at, hole_begin))
            at = hole_end
        left.append((at, end))
    return union(left)


def length(spans: Iterable[Interval]) -> float:
    """Seconds that the intervals cover, each once."""
    return sum(end - begin for begin, end in union(spans))
