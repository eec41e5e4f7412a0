"""Plots of gain against cost: what each family of a run, or each α of a search, won and what it lost."""

from collections.abc import Sequence

from tasks.benchmarks.registry import measure_of
from tasks.reports.point_labels import NamedPoint, label_points
from tasks.reports.run_report import RacePoint
from tasks.reports.svg import ACCENT, INK, MARKERS, MUTED, OUTCOMES, SURFACE, TONES, one_panel, style, svg
from tasks.stats.decision import Verdict
from tasks.stats.margins import GuardResult

__all__ = ["cost_plot", "race_cost_plot"]


def cost_plot(pairs: Sequence[tuple[Verdict, GuardResult]]) -> str:
    """Each family's gain and the guard's difference, both with their 95% intervals; dashed: −margin.

    pairs  of one judged benchmark, one judge and one guard, at least one
    """
    first, guard = pairs[0]
    with style():
        figure, axes = one_panel(max(3.4, 2.6 + 0.14 * len(pairs)))
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.axhline(-guard.margin, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        for verdict, found in pairs:
            color, gain = OUTCOMES[TONES[found.finding]], verdict.difference
            axes.plot([gain.lower, gain.upper], [found.mean] * 2, color=color, linewidth=1.6, alpha=0.7)
            axes.plot([gain.mean] * 2, [found.lower, found.upper], color=color, linewidth=1.6, alpha=0.7)
            marker, size = MARKERS[TONES[found.finding]]
            (point,) = axes.plot(gain.mean, found.mean, marker, color=color, markersize=size)
            point.set(markeredgecolor=SURFACE, zorder=4)  # above the names
        axes.margins(x=0.06, y=0.08)
        axes.grid()
        axes.set_axisbelow(True)
        axes.set_xlabel(f"gain, {measure_of(first.benchmark).title}, {first.unit}")
        measure = measure_of(guard.benchmark)
        axes.set_ylabel(f"{measure.title},\n{measure.unit}")
        points = [NamedPoint(v.difference.mean, g.mean, v.family) for v, g in pairs]
        label_points(figure, axes, points)
        return svg(figure, "Gain against what a guard lost, by family; the table has the same figures")


def race_cost_plot(points: Sequence[RacePoint], guard: str, margin: float, alpha: float | None) -> str:
    """Each candidate's gain with its 95% interval, and its difference on a guard; dashed: −margin.

    points  rising; of those that have a figure of the guard there is at least one
    guard   the benchmark's name
    alpha   the choice; None: no α
    """
    shown = [point for point in points if guard in point.guards]
    measure = measure_of(guard)
    with style():
        figure, axes = one_panel(3.6)
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.axhline(-margin, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        gains, losses = [point.gain for point in shown], [point.guards[guard] for point in shown]
        axes.plot(gains, losses, color=MUTED, linewidth=0.8, alpha=0.6)  # in the order of α
        for point, lost in zip(shown, losses, strict=True):
            tied = point.fate == "tied with the best"
            color = ACCENT if tied else MUTED
            axes.plot([point.lower, point.upper], [lost, lost], color=color, linewidth=1.8, alpha=0.7)
            face = color if tied else SURFACE
            axes.plot(point.gain, lost, "o", color=face, markeredgecolor=color, markersize=7, zorder=4)
        axes.margins(x=0.1, y=0.16)
        axes.grid()
        axes.set_axisbelow(True)
        axes.set_xlabel("gain over α = 0")
        axes.set_ylabel(f"{measure.title},\n{measure.unit}")
        names = [f"α = {point.alpha:g}{', chosen' if point.alpha == alpha else ''}" for point in shown]
        label_points(figure, axes, list(map(NamedPoint, gains, losses, names)))
        return svg(figure, "Gain of each α against what it lost on a guard; the notes have the same figures")
