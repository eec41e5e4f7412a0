"""What a gain costs, for the reports: guards in words, by kind of instruction, and items that were lost."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.benchmarks.registry import measure_of
from tasks.benchmarks.rows import DialogueTurn
from tasks.reports.run_report import FamilyReport
from tasks.stats.decision import Verdict
from tasks.stats.formatting import change, interval, magnitude, signed
from tasks.stats.margins import GuardResult

__all__ = [
    "Kind",
    "LostItem",
    "guard_pairs",
    "guard_sentence",
    "guards_in_short",
    "kinds_of",
    "lost_items",
    "with_guards",
]

EXAMPLES = 3  # lost items that are shown side by side


class Kind(NamedTuple):
    """Instructions of one kind: the shares in % that were followed, original and + ExPO."""

    name: str
    original: float
    expo: float


class LostItem(NamedTuple):
    """An item that the original has right and + ExPO wrong."""

    number: int
    turn: DialogueTurn


def guard_sentence(guard: GuardResult) -> str:
    """A guard in words: what was found, the figures, and why."""
    measure = measure_of(guard.benchmark)
    figures = change(guard.original.score, guard.expo.score, measure.digits)
    ends, margin = interval(guard.lower, guard.upper), magnitude(guard.margin, 1)
    return (
        f"{measure.title} is {guard.finding}: {measure.score} {figures}, {signed(guard.mean)} {measure.unit} "
        f"(95% interval {ends}, margin {margin}); {guard.why}. "
        f"{guard.lost} lost and {guard.won} won of {guard.n_judged} items"
        + (f", {guard.n_failed} not verified." if guard.n_failed else ".")
    )


def guards_in_short(verdict: Verdict) -> str:
    """Each guard's difference and finding, for a table's cell; "–" without a guard."""
    shown = (
        f"{measure_of(guard.benchmark).title} {signed(guard.mean, 1)}, {guard.finding}"
        for guard in verdict.guards
    )
    return "; ".join(shown) or "–"


def with_guards(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that have a guard."""
    return [verdict for verdict in verdicts if verdict.guards]


def guard_pairs(verdicts: Sequence[Verdict], benchmark: str) -> list[tuple[Verdict, GuardResult]]:
    """Each verdict that has this guard, with it."""
    return [
        (verdict, guard) for verdict in verdicts for guard in verdict.guards if guard.benchmark == benchmark
    ]


def kinds_of(guard: GuardResult) -> list[Kind]:
    """The kinds of instructions, the largest loss first; empty for a guard that has none."""
    before, after = guard.original.kinds, guard.expo.kinds
    kinds = [Kind(name, before[name], after[name]) for name in before if name in after]
    return sorted(kinds, key=lambda kind: (kind.expo - kind.original, kind.name))


def lost_items(family: FamilyReport, guard: GuardResult) -> list[LostItem]:
    """Examples of what the guard lost, the first in the benchmark's order."""
    lost = [
        LostItem(row.question_id, turn)
        for row in family.dialogues
        if row.benchmark == guard.benchmark
        for turn in row.turns
        if turn.original_rating == 1 and turn.expo_rating == 0
    ]
    return lost[:EXAMPLES]
