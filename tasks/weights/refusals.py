"""Reasons why two checkpoints do not fit, on one screen whatever the number of tensors."""

import re
from collections.abc import Iterable, Sequence

__all__ = ["examples", "grouped"]

EXAMPLES = 3
GROUPS = 12
_NUMBER = re.compile(r"\d+")


def grouped(complaints: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """One line for each reason: (tensor, reason) pairs with the same reason share it.

    At most `GROUPS` lines and one that counts the rest; those with the most tensors come first.
    """
    groups: dict[str, list[str]] = {}
    for name, reason in complaints:
        groups.setdefault(reason, []).append(name)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    lines = [f"{examples(names)}: {reason}" for reason, names in ordered[:GROUPS]]
    rest = [name for _, names in ordered[GROUPS:] for name in names]
    if rest:
        lines.append(f"{len(rest):,} more tensors for {len(ordered) - GROUPS} more reasons of these kinds")
    return tuple(lines)


def examples(names: Sequence[str]) -> str:
    """Up to three names, of different kinds where there are some, and how many more there are."""
    kinds: dict[str, str] = {}
    for name in names:
        kinds.setdefault(_NUMBER.sub("*", name), name)
    chosen = list(dict.fromkeys([*list(kinds.values())[:EXAMPLES], *names[:EXAMPLES]]))[:EXAMPLES]
    if len(names) <= EXAMPLES:
        return ", ".join(names)
    return f"{len(names):,} tensors, as {', '.join(chosen)}"
