"""matplotlib's figures as SVG that follows the page: its colors, its font, light and dark.

matplotlib does not know CSS. So each role is drawn in a color of its own (a sentinel), and in
the finished SVG the page's custom properties replace the sentinels.
"""

import hashlib
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import StringIO
from typing import TYPE_CHECKING

from tasks.stats.decision import Outcome
from tasks.stats.margins import Finding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "INK",
    "LINE",
    "MARKERS",
    "MUTED",
    "OUTCOMES",
    "SURFACE",
    "TONES",
    "name_rows",
    "one_panel",
    "style",
    "svg",
    "three_panels",
]

INK, MUTED, LINE, ACCENT, SURFACE = "#010101", "#020202", "#030303", "#040404", "#050505"
OUTCOMES = {"better": "#060606", "better, at a cost": "#090909", "no evidence": "#070707", "worse": "#080808"}
# the symbols ▲ ◆ ● ▼ of the tables with their size in points, so that no figure rests on color alone
MARKERS: dict[Outcome, tuple[str, float]] = {
    "better": ("^", 10),
    "better, at a cost": ("D", 7.5),
    "no evidence": ("o", 7.5),
    "worse": ("v", 10),
}
# in whose color the finding of a guard stands
TONES: dict[Outcome | Finding, Outcome] = {
    "better": "better",
    "better, at a cost": "better, at a cost",
    "no evidence": "no evidence",
    "worse": "worse",
    "harmless": "better",
    "not shown to be harmless": "no evidence",
    "at a cost": "worse",
}
PROPERTIES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    SURFACE: "var(--surface)",
    OUTCOMES["better"]: "var(--better)",
    OUTCOMES["better, at a cost"]: "var(--cost)",
    OUTCOMES["no evidence"]: "var(--none)",
    OUTCOMES["worse"]: "var(--worse)",
}
STYLE = {
    "svg.fonttype": "none",  # text stays text: selectable, and in the page's font
    "svg.hashsalt": "expo",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "figure.constrained_layout.use": True,
}
WIDTH = 10.0  # inches


def style() -> AbstractContextManager[None]:
    """The context to draw in."""
    import matplotlib

    context: AbstractContextManager[None] = matplotlib.rc_context(STYLE)
    return context


def one_panel(height: float) -> "tuple[Figure, Axes]":
    """A figure with one plot; the height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.add_subplot()


def name_rows(axes: "Axes", names: Sequence[str]) -> None:
    """Makes a plot one of rows, the first at the top: names at the left, grid lines for the x axis alone."""
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def three_panels() -> "tuple[Figure, list[Axes]]":
    """A figure of a high plot and two low ones with the same x axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 5.2))
    return figure, list(figure.subplots(3, 1, sharex=True, height_ratios=[4, 1, 1]))


def svg(figure: "Figure", label: str) -> str:
    """The figure as an inline `<svg>`: no prolog, no metadata, no fixed size, no ids that could clash."""
    file = StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)
    text = re.sub(r"font-family: [^;\"]*; ", "", text)
    prefix = "s" + hashlib.sha256(text.encode()).hexdigest()[:6]
    text = re.sub(r'(id="|#)([mph][0-9a-f]{10})', rf"\1{prefix}\2", text)
    for color, property_ in PROPERTIES.items():
        text = text.replace(color, property_)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" class="plot" ', 1)
