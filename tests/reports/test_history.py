"""The history: one line for what may be compared, and nothing made up for reports of other versions."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.core.errors import InputError
from tasks.reports.history import history
from tasks.reports.html import render_history
from tasks.reports.run_report import FamilyReport, RunReport
from tasks.reports.text import history_table
from tasks.stats.seeds import NoiseBand
from tasks.stores.artefact import Store

FamilyMaker = Callable[..., FamilyReport]
FINGERPRINT = "AlpacaEval 2.0: judge's fingerprint"
BAND = NoiseBand(benchmark="alpaca_eval", judge="gpt-4.1", difference=0.1, lower=-0.9, upper=1.1, n=805)


@pytest.fixture
def nights(make_family: FamilyMaker) -> dict[str, bytes]:
    """Three nights of a family, the last first and with an A/A run."""
    found = {}
    for night, gain in ((25, 9.0), (24, 5.0), (23, 0.0)):
        family = make_family("zephyr-7b-beta", gain=gain, judge="gpt-4.1", seed=night)
        noise = (BAND,) if night == 25 else ()
        family = family.model_copy(update={"noise": noise, "settings": {FINGERPRINT: "a" * 64}})
        found[f"night-{night}"] = _report(f"night-{night}", night, family)
    return found


def test_points_are_in_the_order_of_time_with_the_runs_own_figures(nights: dict[str, bytes]) -> None:
    (series,) = history(nights).series
    assert [point.run for point in series.points] == ["night-23", "night-24", "night-25"]
    verdict = RunReport.model_validate_json(nights["night-25"]).verdicts[0]
    last = series.points[-1]
    assert (last.gain, last.lower, last.upper) == (
        verdict.difference.mean,
        verdict.difference.lower,
        verdict.difference.upper,
    )
    assert [point.noise for point in series.points] == [None, None, (-0.9, 1.1)]
    assert all(point.lc_gain is None for point in series.points)
    assert series.published is not None and series.published.judge == "gpt-4-1106-preview"


@pytest.mark.parametrize("what", ["judge", "fingerprint", "alpha"])
def test_what_cannot_be_compared_is_another_series(
    what: str, nights: dict[str, bytes], make_family: FamilyMaker
) -> None:
    other = make_family("zephyr-7b-beta", judge="gpt-5" if what == "judge" else "gpt-4.1")
    settings = {FINGERPRINT: ("b" if what == "fingerprint" else "a") * 64}
    verdict = other.verdicts[0].model_copy(update={"alpha": 0.7} if what == "alpha" else {})
    other = other.model_copy(update={"settings": settings, "verdicts": (verdict,)})
    found = history(nights | {"other": _report("other", 26, other)})
    assert sorted(len(series.points) for series in found.series) == [1, 3]


def test_a_band_of_another_judge_is_not_taken(make_family: FamilyMaker) -> None:
    family = make_family("zephyr-7b-beta", judge="gpt-5").model_copy(update={"noise": (BAND,)})
    (series,) = history({"x": _report("x", 25, family)}).series
    assert series.points[0].noise is None


def test_reports_of_other_versions_are_read_or_named(nights: dict[str, bytes]) -> None:
    older = json.loads(nights["night-23"])
    older["a field that is gone"] = 1
    for family in older["families"]:
        del family["noise"], family["settings"]
        family["verdicts"][0]["original"]["a field that is gone"] = 2
    del older["anchors"]
    stranger = json.loads(nights["night-24"])
    del stranger["families"][0]["verdicts"][0]["difference"]
    found = history(
        {"older": json.dumps(older).encode(), "stranger": json.dumps(stranger).encode(), "no": b""}
    )
    assert [len(series.points) for series in found.series] == [1]
    assert found.series[0].judge_fingerprint == ""
    assert found.left_out["stranger"] == "families.0.verdicts.0.difference: Field required"
    assert "no" in found.left_out


def test_table_and_page_tell_every_run(nights: dict[str, bytes]) -> None:
    found = history(nights)
    page, table = render_history(found, "s3://bucket/<b>"), history_table(found)
    for name in nights:
        assert name in table
        assert name in page
    assert "−0.90 to +1.10" in table
    assert "−0.90 to +1.10" in page
    assert "s3://bucket/&lt;b&gt;" in page
    assert "<script" not in page
    (plot,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r'(href|url\()="?#\w+', "", plot)), "follows the theme"
    assert plot.count("2026-11-2") == 3


def test_the_command_reads_a_store(nights: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in nights.items():
        artefact = Store(str(tmp_path)).artefact("reports", name)
        artefact.write("report.json", content)
        artefact.seal(b"{}")
    page = tmp_path / "history.html"
    arguments = ["history", "zephyr-7b-beta", "--store", str(tmp_path), "--json", "--page", str(page)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == history(nights).model_dump(mode="json")
    assert "night-24" in page.read_text()
    unknown = CliRunner().invoke(app, ["history", "nobody", "--store", str(tmp_path)])
    assert isinstance(unknown.exception, InputError) and "no verdict on nobody" in str(unknown.exception)
    empty = CliRunner().invoke(app, ["history", "--store", str(tmp_path / "empty")])
    assert isinstance(empty.exception, InputError) and "no report" in str(empty.exception)


def _report(name: str, day: int, *families: FamilyReport) -> bytes:
    created = f"2026-11-{day}T01:00:00+00:00"
    run = RunReport(name=name, created=created, code_version="0.1.0", families=families)
    return run.model_dump_json().encode()
