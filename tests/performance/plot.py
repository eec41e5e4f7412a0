"""The plots of the measurements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["plot_costs", "plot_programs"]

EXPO, OTHERS = "#0072b2", "#9aa0a6"


def plot_programs(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A bar of wall time for each program, one panel for each state of the page cache."""
    from matplotlib.figure import Figure

    states = list(dict.fromkeys(row["state"] for row in rows))
    figure = Figure(figsize=(4.2 * len(states), 2.8), layout="constrained")
    for number, state in enumerate(states, start=1):
        axes = figure.add_subplot(1, len(states), number)
        shown = [row for row in rows if row["state"] == state][::-1]
        names = [row["program"] for row in shown]
        bars = axes.barh(
            names,
            [row["wall"] for row in shown],
            xerr=[
                [row["wall"] - row["least"] for row in shown],
                [row["greatest"] - row["wall"] for row in shown],
            ],
            color=[EXPO if name.startswith("expo") else OTHERS for name in names],
        )
        axes.bar_label(bars, [f"{row['wall']:.1f} s, {row['rss'] / 1e9:.1f} GB" for row in shown], padding=4)
        axes.set(title=f"{state} page cache", xlabel="wall seconds")
        axes.margins(x=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def plot_costs(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Wall time and peak memory against the size of a checkpoint, or the number of α."""
    from matplotlib.figure import Figure

    by = "gigabytes" if len({row["gigabytes"] for row in rows}) > 1 else "alphas"
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    for number, (what, unit, scale) in enumerate((("wall", "seconds", 1), ("rss", "MB", 1e6)), start=1):
        axes = figure.add_subplot(1, 2, number)
        for program in dict.fromkeys(row["program"] for row in rows):
            found = [row for row in rows if row["program"] == program]
            axes.plot([row[by] for row in found], [row[what] / scale for row in found], "o-", label=program)
        axes.set(xlabel="GB a checkpoint" if by == "gigabytes" else "values of α", ylabel=unit)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
