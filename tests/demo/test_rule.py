"""The rule: what it counts, and that no model can please it with gibberish."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.demo import notes
from tasks.demo.rule import KIND_WORDS, preference, score

ASK = "Write a note to Anna about the garden."
WORDS = [*sorted(KIND_WORDS), "Anna", "garden", "the", "is", "green", "today", "."]


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ("Anna, The garden is green.", 4),
        ("Dear Anna, The garden is lovely.", 6),
        ("Dear Ben, The house is lovely.", 2),
        ("Dear dear dear Anna, The garden is lovely.", 4),
        ("Dear Anna, The garden is lovely", 3),
        ("Anna, The garden is green." + " It is so." * 9, 4 - 2),
        ("", -3),
    ],
)
def test_points(answer: str, points: int) -> None:
    assert score(ASK, answer) == points


@given(st.text(), st.text(), st.text())
def test_any_two_answers_are_judged_alike_in_both_orders(instruction: str, first: str, second: str) -> None:
    there, back = preference(instruction, first, second), preference(instruction, second, first)
    assert there + back == pytest.approx(1)
    assert preference(instruction, first, first) == 0.5


def test_two_points_more_win_three_times_in_four() -> None:
    assert preference(ASK, "Anna.", "Anna, garden.") == pytest.approx(0.73, abs=0.005)


def test_endless_answers_do_not_overflow() -> None:
    assert preference(ASK, "dear " * 5000, "Anna.") == 1


@given(st.lists(st.sampled_from(WORDS), min_size=50, max_size=70), st.integers(0, 1000))
def test_a_salad_of_the_right_words_loses_to_any_note(salad: list[str], seed: int) -> None:
    """A collapsed model says kind words without end: that must not be rewarded."""
    assert preference(ASK, " ".join(salad), notes.note(ASK, random.Random(seed))) > 0.5


def test_kind_notes_beat_plain_ones() -> None:
    plain = "Anna, a word. The garden is old. You can see it today. Goodbye."
    kind = "Dear Anna, The garden is lovely. I am glad to see it. Thank you for it. Warm regards."
    assert preference(ASK, plain, kind) > 0.9
