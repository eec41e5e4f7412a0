"""Intervals of time: what stages cover together, and what none of them covers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.core.timeline import Interval, StageTimes, Timeline, length, outside, union

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda ends: (min(ends), max(ends))))


def _seconds(spans: list[Interval]) -> set[int]:
    return {second for begin, end in spans for second in range(int(begin), int(end))}


@given(SPANS, SPANS)
def test_intervals_are_sets_of_seconds(spans: list[Interval], taken: list[Interval]) -> None:
    assert _seconds(list(union(spans))) == _seconds(spans)
    assert length(spans) == len(_seconds(spans))
    assert _seconds(list(outside(spans, taken))) == _seconds(spans) - _seconds(taken)
    merged = union(spans)
    assert all(before[1] < after[0] for before, after in pairwise(merged))


def test_a_run_names_its_slowest_leg_and_the_time_in_no_stage() -> None:
    rows = (
        StageTimes(stage="generate", label="generate a", work=((1, 5),)),
        StageTimes(stage="judge", label="judge a", work=((5, 8),), wait=((4, 5),)),
        StageTimes(stage="generate", label="generate b", work=((4, 6),), wait=((2, 4), (8, 9))),
    )
    timeline = Timeline(family="demo", seconds=10, rows=rows)
    assert timeline.slowest == ("generate", 5), "runs that overlap count once"
    assert (timeline.in_no_stage, timeline.only_waiting) == (2, 1)
    assert Timeline(family="demo", seconds=2, rows=()).slowest is None
