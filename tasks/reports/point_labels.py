"""Names beside the points of a plot: none covers another, none lies outside of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tasks.reports.svg import LINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NamedPoint", "label_points"]

TIE = {"arrowstyle": "-", "color": LINE, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 3}  # of a moved name
SIZE, HEIGHT, WIDTH, GAP = 8, 11.0, 4.7, 6.0  # points: of the font, a line, a character, beside the point
LONGEST = 32  # characters; the tables have the whole name
ROUNDS = 4  # of making room: more room moves the points


class NamedPoint(NamedTuple):
    """A point in the plot's own coordinates."""

    x: float
    y: float
    name: str


def label_points(figure: "Figure", axes: "Axes", points: Sequence[NamedPoint]) -> None:
    """Writes each name right of its point, or above where it would cover another; makes the axes larger.

    points  at least one, with everything else drawn
    """
    figure.draw_without_rendering()  # so that the axes have their final size
    for _ in range(ROUNDS):
        placed = _place(axes, points)
        box = axes.get_window_extent()
        scale = 72 / figure.dpi
        over_right = max(right for _, right, _ in placed) - box.x1 * scale
        over_top = max(at for _, _, at in placed) + HEIGHT / 2 - box.y1 * scale
        if over_right <= 0 and over_top <= 0:
            break
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        axes.set_xlim(left, right + max(0.0, 1.3 * over_right / (box.width * scale)) * (right - left))
        axes.set_ylim(bottom, top + max(0.0, 1.3 * over_top / (box.height * scale)) * (top - bottom))
    for point, (_, _, at) in zip(points, _place(axes, points), strict=True):
        offset = at - _in_points(axes, point)[1]
        axes.annotate(
            _short(point.name),
            (point.x, point.y),
            (GAP, offset),
            textcoords="offset points",
            va="center",
            size=SIZE,
            arrowprops=TIE if offset else None,
        ).set_in_layout(False)


def _place(axes: "Axes", points: Sequence[NamedPoint]) -> list[tuple[float, float, float]]:
    """Left end, right end and middle height of each name, in points of the figure; lower points first."""
    placed: dict[int, tuple[float, float, float]] = {}
    for at in sorted(range(len(points)), key=lambda at: points[at].y):
        x, height = _in_points(axes, points[at])
        left, right = x + GAP, x + GAP + WIDTH * len(_short(points[at].name))
        for other_left, other_right, taken in sorted(placed.values(), key=lambda box: box[2]):
            if other_left < right and left < other_right and abs(height - taken) < HEIGHT:
                height = taken + HEIGHT
        placed[at] = (left, right, height)
    return [placed[at] for at in range(len(points))]


def _in_points(axes: "Axes", point: NamedPoint) -> tuple[float, float]:
    x, y = axes.transData.transform((point.x, point.y)) * 72 / axes.figure.dpi
    return float(x), float(y)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
