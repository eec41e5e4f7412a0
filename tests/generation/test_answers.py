"""Counting loops, and the form of answers.json."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.generation.answers import is_looping


@given(
    start=st.lists(st.integers(0, 9), max_size=50),
    loop=st.lists(st.integers(0, 9), min_size=1, max_size=32),
    extra=st.integers(0, 31),
)
def test_a_loop_at_the_end_is_seen(start: list[int], loop: list[int], extra: int) -> None:
    """Wherever the answer was cut within the loop."""
    times = max(5, 33 // len(loop) + 1)
    assert is_looping(start + loop * times + loop[: extra % len(loop)])


@pytest.mark.parametrize(
    "ids",
    [[], [7] * 31, list(range(500)), [7] * 400 + list(range(8)), [*range(33)] * 8],
    ids=["empty", "short", "distinct", "ended well", "period of 33"],
)
def test_no_loop(ids: list[int]) -> None:
    assert not is_looping(ids)
