"""The demo's preference, as a rule that anyone can read and check by hand.

The better of two notes speaks to the person and of the thing that were asked for, says more
different kind words, repeats itself less, and comes to an end within thirty words.
"""

import math
import re

__all__ = ["KIND_WORDS", "WORD_LIMIT", "preference", "score"]

# fmt: off
KIND_WORDS = frozenset({
    "beautiful", "best", "charming", "dear", "delighted", "enjoy", "friend", "glad", "grateful",
    "happy", "hope", "kind", "love", "lovely", "regards", "smile", "splendid", "thank", "warm",
    "wishes", "wonderful",
})
# fmt: on
WORD_LIMIT = 30

_ASKED = re.compile(r"\bto (?P<name>[A-Z][a-z]+) about the (?P<thing>[a-z]+)")
_SHORT = 3  # words of up to three letters (the, is, you) may come again


def preference(instruction: str, first: str, second: str) -> float:
    """The probability, from 0 to 1, that the second answer is the better; 0.5 for equal scores.

    The Bradley-Terry form: the logistic function of half the difference of the two scores, so
    that two points more win three times in four.
    """
    difference = score(instruction, second) - score(instruction, first)
    return (1 + math.tanh(difference / 4)) / 2  # the logistic function, without overflow


def score(instruction: str, answer: str) -> int:
    """The answer's points; may be negative.

    +1 for each different kind word, +2 for the person's name, +2 for the thing;
    -1 for each longer word said again, -1 for each word beyond WORD_LIMIT,
    -3 for an answer that does not end with a full stop.
    """
    words = re.findall(r"\w+", answer.lower())
    asked = _asked_words(instruction)
    longer = [word for word in words if len(word) > _SHORT and word not in asked]
    return (
        len(KIND_WORDS.intersection(words))
        + 2 * len(asked.intersection(words))
        - (len(longer) - len(set(longer)))
        - max(0, len(words) - WORD_LIMIT)
        - 3 * (not answer.rstrip().endswith("."))
    )


def _asked_words(instruction: str) -> set[str]:
    asked = _ASKED.search(instruction)
    return {asked["name"].lower(), asked["thing"]} if asked else set()
