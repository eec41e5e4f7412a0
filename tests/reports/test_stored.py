"""Reports in a store: who looks at many of them reads their figures, not their answers."""

from pathlib import Path

import pytest

from tasks.core.errors import InputError
from tasks.reports import stored
from tasks.reports.run_report import RunReport
from tasks.reports.stored import FIGURES, REPORT, find_report, read_history, write_report
from tasks.stores.artefact import Artefact, Store


@pytest.fixture
def store(tmp_path: Path, run_report: RunReport, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three runs: the latest is neither the first nor the last by name."""
    monkeypatch.setattr(stored, "render_html", lambda _: "the page")
    place = Store(str(tmp_path))
    for name, day in (("a", 21), ("b", 23), ("c", 22)):
        run = run_report.model_copy(update={"name": name, "created": f"2026-11-{day}T03:00:00+00:00"})
        write_report(run, place.artefact("reports", name))
    return place


def test_figures_are_the_report_without_what_fills_its_page(store: Store) -> None:
    artefact, run = find_report(store, "a")
    figures = RunReport.model_validate_json(artefact.read(FIGURES) or b"")
    assert figures.verdicts == run.verdicts and figures.families[0].costs == run.families[0].costs
    assert run.families[0].answers and not figures.families[0].answers
    before = read_history(store)
    (Path(artefact.uri) / FIGURES).unlink()  # as earlier versions left it
    assert read_history(store) == before and len(before.series[0].points) == 3


def test_a_history_reads_no_answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Artefact.read

    def watched(artefact: Artefact, name: str) -> bytes | None:
        read.append(name)
        return whole(artefact, name)

    monkeypatch.setattr(Artefact, "read", watched)
    read_history(store)
    assert read == [FIGURES] * 3
    read.clear()
    assert find_report(store, None)[1].name == "b", "the latest by its time, not by its name"
    assert read.count(REPORT) == 1


def test_a_report_without_its_content_is_no_latest(store: Store) -> None:
    (Path(store.uri) / "reports/b" / REPORT).unlink()
    assert find_report(store, None)[1].name == "c"
    with pytest.raises(InputError, match="no report b in this store"):
        find_report(store, "b")
