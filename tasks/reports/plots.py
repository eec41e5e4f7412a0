"""The report's plots. Their colors are roles that the page gives (`tasks.reports.svg`)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.benchmarks.registry import measure_of
from tasks.reports.history import Series
from tasks.reports.point_labels import NamedPoint, label_points
from tasks.reports.run_report import AlphaPoint, RacePoint
from tasks.reports.svg import (
    ACCENT,
    INK,
    MARKERS,
    MUTED,
    OUTCOMES,
    SURFACE,
    TONES,
    name_rows,
    one_panel,
    style,
    svg,
    three_panels,
)
from tasks.stats.decision import Verdict
from tasks.stats.formatting import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["alpha_plot", "category_plot", "gain_plot", "history_plot", "length_plot", "race_plot"]

ROW = 0.34  # inches


def gain_plot(verdicts: Sequence[Verdict]) -> str:
    """The gain of each family with its 95% interval; a diamond is the published gain.

    verdicts  of one benchmark and one judge, at least one
    """
    with style():
        figure, axes = one_panel(0.75 + ROW * len(verdicts))
        axes.axvline(0, color=MUTED, linewidth=1)
        for row, verdict in enumerate(verdicts):
            _gain_row(axes, row, verdict)
        name_rows(axes, [verdict.family for verdict in verdicts])
        axes.set_xlabel(f"gain of + ExPO over the original, {verdicts[0].unit}")
        return svg(figure, "Gain with its 95% interval by family; the table above has the same figures")


def length_plot(verdicts: Sequence[Verdict]) -> str:
    """From the original's mean length and score to those of + ExPO: one arrow a family."""
    with style():
        figure, axes = one_panel(max(3.2, 1.0 + 0.26 * len(verdicts)))
        for verdict in verdicts:
            before, after = verdict.original, verdict.expo
            arrow = {
                "arrowstyle": "-|>",
                "color": OUTCOMES[verdict.outcome],
                "linewidth": 1.6,
                "shrinkA": 3,
                "shrinkB": 0,
            }
            end, start = (after.mean_length, after.score), (before.mean_length, before.score)
            axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
            axes.plot(*start, "o", color=SURFACE, markeredgecolor=MUTED, markersize=5)
            axes.update_datalim([end])  # an annotation alone does not widen the axes
        axes.margins(x=0.06, y=0.12)
        axes.locator_params(axis="x", integer=True)
        axes.grid()
        axes.set_axisbelow(True)
        axes.set_xlabel("mean length of an answer, characters")
        axes.set_ylabel(measure_of(verdicts[0].benchmark).axis)
        heads = [NamedPoint(v.expo.mean_length, v.expo.score, v.family) for v in verdicts]
        label_points(figure, axes, heads)
        return svg(figure, "Score against mean answer length, an arrow from the original to + ExPO")


def category_plot(verdict: Verdict) -> str:
    """A benchmark by category: two bars each, the score of the original and of + ExPO.

    verdict  with categories in both arms
    """
    names = [name for name in verdict.original.categories if name in verdict.expo.categories]
    measure = measure_of(verdict.benchmark)
    top = 10 if verdict.original.first_turn is not None else 100
    with style():
        figure, axes = one_panel(2.8)
        for arm, shift, color in ((verdict.original, -0.2, MUTED), (verdict.expo, 0.2, ACCENT)):
            places = [place + shift for place in range(len(names))]
            ratings = [arm.categories[name] for name in names]
            axes.bar(places, ratings, width=0.36, color=color)
            for place, rating in zip(places, ratings, strict=True):
                axes.text(place, rating + 0.015 * top, f"{rating:.1f}", ha="center", color=INK, size=8)
        axes.set_xticks(range(len(names)), names, color=INK)
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(0, 1.09 * top)
        axes.set_yticks([tick * top // 5 for tick in range(6)])
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_ylabel(measure.axis)
        return svg(figure, f"{measure.title}: {measure.axis} by category, the original beside + ExPO")


def alpha_plot(curve: Sequence[AlphaPoint], alpha: float) -> str:
    """The win rate over the original against α, with its interval; below it, what happens to the answers.

    curve  at least one point
    alpha  the α that the run used
    """
    points = sorted(curve, key=lambda point: point.alpha)
    x = [point.alpha for point in points]
    with style():
        figure, (top, lengths, cuts) = three_panels()
        top.axhline(50, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        low, high = [p.lower for p in points], [p.upper for p in points]
        top.fill_between(x, low, high, color=ACCENT, alpha=0.16, linewidth=0)
        top.plot(x, [p.win_rate for p in points], "o-", color=ACCENT, linewidth=2, markersize=4.5)
        top.set_ylim(0, 100)
        top.set_ylabel("win rate over\nthe original, %")
        lengths.plot(x, [p.mean_length for p in points], color=MUTED, linewidth=1.6)
        lengths.set_ylabel("mean\nlength")
        lengths.set_ylim(bottom=0)
        cuts.plot(x, [100 * p.truncated for p in points], color=MUTED, linewidth=1.6)
        cuts.set_ylabel("cut off,\n%")
        cuts.set_ylim(0, 100)
        for axes in (top, lengths, cuts):
            axes.axvline(alpha, color=INK, linewidth=1)
            axes.grid(axis="y")
            axes.set_axisbelow(True)
        top.annotate(f"α = {alpha:g}, used", (alpha, 97), (5, 0), textcoords="offset points", va="top")
        cuts.set_xlabel("α")
        return svg(
            figure, "Win rate over the original against alpha, with mean length and share of cut answers"
        )


def race_plot(points: Sequence[RacePoint], alpha: float | None) -> str:
    """The gain over α = 0 of each candidate of a search, with its interval and how many prompts it answered.

    points  at least one, rising
    alpha   the choice; None: no α
    """
    with style():
        figure, axes = one_panel(3.2)
        axes.axhline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for place, point in enumerate(points):
            tied = point.fate == "tied with the best"
            color = ACCENT if tied else MUTED
            axes.plot([place, place], [point.lower, point.upper], color=color, linewidth=2.4)
            face = color if tied else SURFACE
            axes.plot(place, point.gain, "o", color=face, markeredgecolor=color, markersize=7)
            above = (place, max(point.gain, point.upper))
            axes.annotate(
                str(point.prompts),
                above,
                (0, 5),
                textcoords="offset points",
                ha="center",
                color=MUTED,
                size=8,
            )
            if point.alpha == alpha:
                axes.axvspan(place - 0.4, place + 0.4, color=ACCENT, alpha=0.12, linewidth=0)
        axes.set_xticks(range(len(points)), [f"{point.alpha:g}" for point in points], color=INK)
        axes.margins(y=0.16)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel("α")
        axes.set_ylabel("gain over α = 0")
        return svg(figure, "Gain over alpha 0 of each candidate; the table below has the same figures")


def history_plot(series: Series) -> str:
    """The gain of a family by run, in the order of time, with its interval and the A/A noise band.

    series  at least one point
    """
    with style():
        figure, axes = one_panel(2.8)
        axes.axhline(0, color=MUTED, linewidth=1)
        if series.published:
            axes.axhline(series.published.gain, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        for place, point in enumerate(series.points):
            if point.noise:
                low, high = point.noise
                axes.bar(place, high - low, bottom=low, width=0.7, color=MUTED, alpha=0.18, linewidth=0)
            color = OUTCOMES[TONES[point.outcome]]
            axes.plot([place, place], [point.lower, point.upper], color=color, linewidth=2.4)
            marker, size = MARKERS[TONES[point.outcome]]
            axes.plot(place, point.gain, marker, color=color, markersize=size, markeredgecolor=SURFACE)
        step = max(1, len(series.points) // 8)
        shown = range(0, len(series.points), step)
        axes.set_xticks(shown, [series.points[place].created[:10] for place in shown])
        axes.set_xlim(-0.6, max(len(series.points), 6) - 0.4)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_ylabel(f"gain, {series.unit}")
        return svg(figure, "Gain with its 95% interval by run; the table below has the same figures")


def _gain_row(axes: "Axes", row: int, verdict: Verdict) -> None:
    found, color = verdict.difference, OUTCOMES[verdict.outcome]
    axes.plot([found.lower, found.upper], [row, row], color=color, linewidth=2.4, solid_capstyle="round")
    marker, size = MARKERS[verdict.outcome]
    axes.plot(found.mean, row, marker, color=color, markersize=size, markeredgecolor=SURFACE)
    if verdict.published:
        axes.plot(verdict.published.gain, row, "D", color="none", markeredgecolor=INK, markersize=6)
    place = axes.get_yaxis_transform()
    axes.text(1.01, row, signed(found.mean), transform=place, va="center", color=color, weight="bold")
