"""Names beside points: each is there, inside the plot, and covers no other."""

from itertools import combinations

import pytest
from matplotlib.text import Annotation, Text

from tasks.reports.point_labels import LONGEST, NamedPoint, label_points
from tasks.reports.svg import one_panel, style

NAMES = [f"family-{number}-with-a-name-as-long-as-people-give-them" for number in range(14)]


@pytest.mark.parametrize("spread", [0.0, 0.2, 5.0])
def test_names_of_points_that_lie_together_are_readable(spread: float) -> None:
    points = [NamedPoint(spread * number % 7, spread * number, name) for number, name in enumerate(NAMES)]
    with style():
        figure, axes = one_panel(4.0)
        axes.plot([0, 10], [-1, 1])
        label_points(figure, axes, points)
        figure.draw_without_rendering()
        inside = axes.get_window_extent()
        boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the ties
    assert [text.get_text() for text in axes.texts] == [f"{name[: LONGEST - 1]}…" for name in NAMES]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(box.y1 <= inside.y1 + 1 and box.x1 <= inside.x1 + 1 for box in boxes)


def test_a_name_that_is_not_moved_stands_at_its_point() -> None:
    with style():
        figure, axes = one_panel(4.0)
        label_points(figure, axes, [NamedPoint(0, 0, "one"), NamedPoint(0, 5, "two")])
    assert [text.arrow_patch for text in axes.texts if isinstance(text, Annotation)] == [None, None]
