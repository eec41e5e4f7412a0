"""The task's instructions: held-out ones stay out, and the rule reads them as they are meant."""

import random

from tasks.demo import notes
from tasks.demo.rule import score


def test_no_pair_of_person_and_thing_is_in_two_splits() -> None:
    """Answers learned by heart would make the held-out curve a training curve."""
    splits = notes.splits(evaluation=400, alphas=200, seed=1)
    parts = [{notes.person_and_thing(ask) for ask in part} for _, part in splits]
    assert [len(part) for part in parts[1:]] == [400, 200]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == len(notes.NAMES) * len(notes.THINGS)


def test_the_rule_finds_what_every_instruction_asks_for() -> None:
    for ask in notes.splits(evaluation=0, alphas=0, seed=1).train:
        name, thing = notes.person_and_thing(ask)
        assert score(ask, f"{name} {thing}.") == 4


def test_notes_leave_room_for_a_preference() -> None:
    ask = "Send a card to Ruth about the mill."
    scores = [score(ask, notes.note(ask, random.Random(seed))) for seed in range(300)]
    assert 3 < sum(scores) / len(scores) < 7 < 10 < max(scores)
