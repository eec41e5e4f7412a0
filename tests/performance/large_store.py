"""What a store with many artefacts takes: to list, to search for orphans, to look back over its nights.

    python -m tests.performance.large_store                             10,000 artefacts, 60 nights
    python -m tests.performance.large_store --artefacts 500 --nights 6 --answers 10

The artefacts are small; the nights' reports have 14 families on 2 benchmarks with all answers. Prints CPU
and wall seconds of each: names of a kind, `expo gc`, the history, a night's comparison, the latest report.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from tasks.comparison.nights import NIGHT, changes_of
from tasks.reports.history import history
from tasks.reports.stored import FIGURES, REPORT, find_report, read_history, stored_reports
from tasks.stores.artefact import MANIFEST, STORE_CONTENT, STORE_MARK, Store
from tasks.stores.gc import find_orphans
from tests.performance.report_page import CREATED, NAME, make_report

__all__ = ["main", "make_store"]

KINDS = ("models", "generations", "judgments", "verdicts")
YEAR = timedelta(days=365)


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the store and prints a line for each thing that is done with it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--artefacts", type=int, default=10_000)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--answers", type=int, default=805, help="of a family and benchmark, in each report")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as work:
        store = make_store(Path(work) / "store", options.artefacts, options.nights, options.answers)
        latest = f"{NIGHT}{options.nights - 1:04d}"
        ways: dict[str, Callable[[], object]] = {
            "names of a kind": lambda: store.names("generations"),
            "expo gc": lambda: find_orphans(store.uri, YEAR),
            "expo history": lambda: read_history(store),
            "a night's comparison": lambda: changes_of(history(stored_reports(store)).series, latest),
            "expo report": lambda: find_report(store, None),
        }
        for name, run in ways.items():
            cpu, wall = time.process_time(), time.monotonic()
            run()
            cpu, wall = time.process_time() - cpu, time.monotonic() - wall
            print(f"{name:24}{cpu:8.2f} CPU s{wall:8.2f} s", flush=True)


def make_store(folder: Path, artefacts: int, nights: int, answers: int) -> Store:
    """A store of so many sealed artefacts, a quarter of each kind, and the reports of so many nights."""
    store = Store(str(folder))
    for number in range(artefacts):
        artefact = folder / KINDS[number % len(KINDS)] / f"{number:016x}"
        artefact.mkdir(parents=True)
        (artefact / MANIFEST).write_text('{"files": []}')
        (artefact / "answers.json").write_text("[]")
    (folder / STORE_MARK).write_bytes(STORE_CONTENT)
    whole, figures = (
        make_report(families=14, answers=count).model_dump_json(indent=1) for count in (answers, 0)
    )
    for number in range(nights):
        report, name = folder / "reports" / f"{NIGHT}{number:04d}", f"{NIGHT}{number:04d}"
        report.mkdir(parents=True)
        created = f"2026-{1 + number // 28 % 12:02d}-{1 + number % 28:02d}T03:00:00+00:00"
        for file, content in ((REPORT, whole), (FIGURES, figures)):
            (report / file).write_text(content.replace(NAME, name, 1).replace(CREATED, created, 1))
        (report / MANIFEST).write_text(json.dumps({"name": name, "created": created}))
    return store


if __name__ == "__main__":
    main()
