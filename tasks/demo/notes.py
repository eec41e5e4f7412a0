"""The demo's task: short notes to a person about a thing, and the instructions that ask for them.

The notes that SFT learns from are correct and rather dry: every sentence has kind and plain
wordings, and the plain ones are more frequent. That leaves room for a preference.
"""

import random

from tasks.core.values import Value

__all__ = ["Splits", "note", "person_and_thing", "splits"]

# fmt: off
NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Iris", "Jack",
    "Kate", "Leo", "Maria", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tom", "Vera",
    "Amir", "Bella", "Carl", "Diana", "Erik", "Fatima", "George", "Hanna", "Ivan", "Julia",
    "Karim", "Laura", "Mark", "Nora", "Oscar", "Petra", "Ruth", "Simon", "Tara", "Yusuf",
)
THINGS = (
    "garden", "house", "river", "letter", "book", "dinner", "picnic", "concert", "lamp", "table",
    "bridge", "picture", "bread", "kitchen", "window", "train", "lake", "market", "song", "party",
    "walk", "chair", "story", "island", "boat", "tree", "museum", "school", "village", "cake",
    "shop", "field", "road", "film", "mill", "clock", "coat", "play", "farm",
)
# fmt: on
ASKS = (
    "Write a note to {name} about the {thing}.",
    "Send a card to {name} about the {thing}.",
    "Please write to {name} about the {thing}.",
    "Say a few words to {name} about the {thing}.",
)
KIND_SHARE = 0.3

# (plain wordings, kind wordings) of each place in a note; "" leaves the place empty
PLACES = (
    (
        ("{name},", "{name}, a word.", "Hello {name},"),
        ("Dear {name},", "Dear friend {name},", "My dear {name},"),
    ),
    (
        ("The {thing} is {plain}.", "The {thing} was {plain} {time}."),
        ("The {thing} is {kind}.", "The {thing} was {kind} {time}."),
    ),
    (
        ("I saw it {time}.", "We went there {time}.", "You can see it {time}."),
        ("I am {feeling} to see it.", "It made me smile {time}.", "We are {feeling} that you came."),
    ),
    (
        ("That is all for now.", "You know where it is.", ""),
        ("Thank you for it.", "I hope you enjoy it.", "Thank you for the {thing}."),
    ),
    (
        ("Until {later}.", "Goodbye.", ""),
        ("Best wishes.", "Warm regards.", "With love.", "Warm wishes."),
    ),
)
FILLINGS = {
    "plain": ("old", "new", "big", "small", "green", "grey", "long", "open"),
    "kind": ("lovely", "wonderful", "beautiful", "splendid", "charming"),
    "feeling": ("glad", "happy", "grateful", "delighted"),
    "time": ("today", "yesterday", "this morning", "last night", "on Sunday", "in May"),
    "later": ("tomorrow", "next week", "Monday", "then"),
}


class Splits(Value):
    """Disjoint instructions: no pair of person and thing is in two of the three."""

    train: tuple[str, ...]
    evaluation: tuple[str, ...]
    alphas: tuple[str, ...]


def splits(evaluation: int, alphas: int, seed: int) -> Splits:
    """Divides the pairs of person and thing; training gets the rest, asked in every way."""
    chance = random.Random(seed)
    pairs = [(name, thing) for name in NAMES for thing in THINGS]
    chance.shuffle(pairs)
    cut = evaluation + alphas
    held_out = [chance.choice(ASKS).format(name=name, thing=thing) for name, thing in pairs[:cut]]
    train = [ask.format(name=name, thing=thing) for name, thing in pairs[cut:] for ask in ASKS]
    return Splits(
        train=tuple(train), evaluation=tuple(held_out[:evaluation]), alphas=tuple(held_out[evaluation:])
    )


def note(instruction: str, chance: random.Random) -> str:
    """One note as SFT sees it: each place kind with probability KIND_SHARE, else plain."""
    name, thing = person_and_thing(instruction)
    wordings = [_wording(place, chance) for place in PLACES]
    fillings = {slot: chance.choice(words) for slot, words in FILLINGS.items()}
    return " ".join(wording for wording in wordings if wording).format(name=name, thing=thing, **fillings)


def person_and_thing(instruction: str) -> tuple[str, str]:
    """What an instruction asks for: the person's name and the thing."""
    before, thing = instruction.removesuffix(".").split(" about the ")
    return before.rsplit(" to ", 1)[1], thing


def _wording(place: tuple[tuple[str, ...], tuple[str, ...]], chance: random.Random) -> str:
    plain, kind = place
    return chance.choice(kind if chance.random() < KIND_SHARE else plain)
