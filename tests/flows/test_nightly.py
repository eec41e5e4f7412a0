"""Nightly runs: a drop beyond the noise is an event, one within it is not; old nights' reports go."""

import math
from pathlib import Path

import pytest

from tasks.comparison.nights import NIGHT, Change, changes_of
from tasks.keep_reports import keep_reports
from tasks.reports.history import HistoryPoint, Series
from tasks.stores.artefact import Store


def point(run: str, gain: float, half: float, noise: float | None = None) -> HistoryPoint:
    return HistoryPoint(
        run=run,
        created=run,
        outcome="no evidence",
        original=50,
        expo=50 + gain,
        gain=gain,
        lower=gain - half,
        upper=gain + half,
        noise=None if noise is None else (-noise, noise),
    )


def change(*points: HistoryPoint, run: str) -> tuple[Change, ...]:
    line = Series(
        family="demo",
        alpha=0.5,
        benchmark="alpaca_eval",
        judge="j",
        judge_fingerprint="",
        unit="percentage points",
        points=points,
    )
    return changes_of((line,), run)


@pytest.mark.parametrize(("gain", "dropped"), [(2.0, True), (3.5, False), (9.0, False)])
def test_a_drop_is_what_the_noise_band_does_not_explain(gain: float, dropped: bool) -> None:
    """A/A half width 1: two runs differ by √2 at 95%."""
    (measured,) = change(point("a", 4.5, 3.0), point("b", gain, 3.0, noise=1.0), run="b")
    assert (measured.earlier, measured.change) == ("a", gain - 4.5)
    assert measured.noise == pytest.approx(math.sqrt(2)) and measured.dropped is dropped


def test_without_an_a_a_run_the_intervals_decide() -> None:
    (measured,) = change(point("a", 4.0, 3.0), point("b", -1.1, 4.0), run="b")
    assert measured.noise == pytest.approx(5.0) and measured.dropped


def test_what_was_never_measured_before_has_no_change() -> None:
    assert change(point("a", 4.0, 3.0), point("b", 0.0, 1.0), run="a") == ()


def test_only_the_latest_nights_are_kept(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    nights = [f"{NIGHT}2026-01-0{day}-021500" for day in range(1, 6)]
    for name in [*nights, "clever-otter"]:
        artefact = store.artefact("reports", name)
        artefact.write("report.json", b"{}")
        artefact.seal(b"{}")
    assert keep_reports.fn(2, str(tmp_path)) == 3
    assert store.names("reports") == ["clever-otter", *nights[3:]]
    assert keep_reports.fn(2, str(tmp_path)) == 0
