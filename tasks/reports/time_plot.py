"""Where the time of a family's run went: a bar for each stage over the time, and one sentence."""

import re

from tasks.core.timeline import Timeline
from tasks.reports.svg import ACCENT, MUTED, SURFACE, name_rows, one_panel, style, svg
from tasks.stats.formatting import duration, share

__all__ = ["time_plot", "time_sentence"]

LEGS = {
    "download": "downloading",
    "extrapolate": "extrapolating",
    "generate": "generating",
    "judge": "judging",
    "make_checkpoints": "making the checkpoints",
    "search_alpha": "the search for α",
    "upload": "uploading",
}
"""Stages as the sentence calls them; of others their names."""
UNITS = ((7200.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
MODEL = re.compile(r", \S+(?P<alpha> α=.*|)$")  # of a run's name: the whole plot is about one pair
ROW = 0.34  # inches
BAR = 0.56  # of a row's height
NARROWEST = 0.002  # of the run: a shorter bar would not be seen


def time_sentence(timeline: Timeline) -> str:
    """How the run compares with its slowest stage, and what passed in none; a short run is said as it is."""
    if timeline.slowest is None:
        return f"{duration(timeline.seconds)} without any stage."
    stage, busy = timeline.slowest
    times = f"{timeline.seconds / busy:.2f} times" if busy else "not comparable with"
    waiting = timeline.only_waiting
    waited = f" {duration(waiting)} passed in waiting for a slot or a judge's server." if waiting >= 1 else ""
    return (
        f"{duration(timeline.seconds)} from begin to end, {times} its slowest leg, "
        f"{LEGS.get(stage, stage)} ({duration(busy)}); {duration(timeline.in_no_stage)} "
        f"({share(timeline.in_no_stage / max(timeline.seconds, 1e-9))}) passed in no stage.{waited}"
    )


def time_plot(timeline: Timeline) -> str:
    """A row for each stage, in the order of their begin; filled: it worked, hollow: it waited.

    timeline  with at least one row; those of its slowest stage are in the accent's color
    """
    _, scale, unit = next(found for found in UNITS if timeline.seconds >= found[0])
    least = NARROWEST * timeline.seconds
    slowest = timeline.slowest[0] if timeline.slowest else ""
    with style():
        figure, axes = one_panel(0.75 + ROW * len(timeline.rows))
        for number, row in enumerate(timeline.rows):
            color = ACCENT if row.stage == slowest else MUTED
            at = (number - BAR / 2, BAR)
            waits = [(begin / scale, (end - begin) / scale) for begin, end in row.wait]
            works = [(begin / scale, max(least, end - begin) / scale) for begin, end in row.work]
            axes.broken_barh(waits, at, facecolor=SURFACE, edgecolor=color, linewidth=1)
            axes.broken_barh(works, at, facecolor=color)
        name_rows(axes, [MODEL.sub(r"\g<alpha>", row.label) for row in timeline.rows])
        axes.set_xlim(0, max(timeline.seconds, least, 1e-3) / scale)
        axes.set_xlabel(f"{unit} since the family's run began")
        return svg(figure, "When each stage worked and waited, over the time of the run")
