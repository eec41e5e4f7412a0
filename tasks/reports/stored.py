"""Reports in a store: written whole, and found again by name, by time or by model."""

import json

from tasks.core.errors import CorruptError, InputError
from tasks.reports.history import History, history
from tasks.reports.html import render_html
from tasks.reports.markdown import render_markdown
from tasks.reports.run_report import FamilyReport, RunReport
from tasks.stats.decision import Verdict
from tasks.stores.artefact import Artefact, Store

__all__ = [
    "FAMILY_REPORT",
    "PAGE",
    "REPORT",
    "find_report",
    "read_family_report",
    "read_history",
    "stored_reports",
    "verdicts_of",
    "write_report",
]

REPORT, PAGE, FAMILY_REPORT = "report.json", "report.html", "family.json"
FIGURES = "figures.json"


def write_report(run: RunReport, artefact: Artefact) -> None:
    """Writes report.json, report.md, report.html, and figures.json: report.json without its answers.

    The manifest, last, is for listings. Who looks at many reports reads the figures alone, a thousandth.
    """
    artefact.write(REPORT, run.model_dump_json(indent=1).encode())
    artefact.write(FIGURES, _without_answers(run).model_dump_json(indent=1).encode())
    artefact.write("report.md", render_markdown(run).encode())
    artefact.write(PAGE, render_html(run).encode())
    artefact.seal(json.dumps({"name": run.name, "created": run.created}).encode())


def read_family_report(uri: str) -> FamilyReport:
    """A family's part of a report.

    Raises:
        CorruptError: the artefact has none.
    """
    content = Artefact(uri).read(FAMILY_REPORT)
    if content is None:
        raise CorruptError(f"{uri}: no {FAMILY_REPORT} in this artefact; run the family again")
    return FamilyReport.model_validate_json(content)


def stored_reports(store: Store) -> dict[str, bytes]:
    """The figures.json of every run of a store, by the run's name; the report.json of older runs."""
    artefacts = {name: store.artefact("reports", name) for name in store.names("reports")}
    read = {name: artefact.read(FIGURES) or artefact.read(REPORT) for name, artefact in artefacts.items()}
    return {name: content for name, content in read.items() if content}


def find_report(store: Store, name: str | None) -> tuple[Artefact, RunReport]:
    """A run's report by name, or the one that was created last.

    Raises:
        InputError: the store has no such report.
    """
    artefact = store.artefact("reports", name) if name else _latest(store)
    content = artefact.read(REPORT) if artefact else None
    if artefact is None or not content:
        raise InputError(f"{store.uri}: no report {name or 'of any run'} in this store")
    return artefact, RunReport.model_validate_json(content)


def read_history(store: Store) -> History:
    """The history of a store's runs.

    Raises:
        InputError: the store has no report.
    """
    if not store.names("reports"):
        raise InputError(f"{store.uri}: no report of any run in this store")
    # one whose report.json is missing is named as one that cannot be read
    unread = dict.fromkeys(store.names("reports"), b"")
    return history(unread | stored_reports(store))


def verdicts_of(store: Store, fingerprint: str) -> tuple[Verdict, ...]:
    """The verdicts on a model in the latest of a store's reports that has some; empty without one."""
    reports = [RunReport.model_validate_json(content) for content in stored_reports(store).values()]
    for run in sorted(reports, key=lambda run: run.created, reverse=True):
        for family in run.families:
            if family.settings.get("recipe") == fingerprint and family.verdicts:
                return family.verdicts
    return ()


def _latest(store: Store) -> Artefact | None:
    """The report that was created last, by the manifests alone."""
    made = {}
    for name in store.names("reports"):
        artefact = store.artefact("reports", name)
        if artefact.size(REPORT) is not None:
            made[artefact] = str(json.loads(artefact.manifest() or b"{}").get("created", ""))
    return max(made, key=lambda artefact: made[artefact], default=None)


def _without_answers(run: RunReport) -> RunReport:
    """The run without what fills its page: answers, dialogues and norms of tensors."""
    families = tuple(
        family.model_copy(update={"answers": (), "dialogues": (), "norms": ()}) for family in run.families
    )
    return run.model_copy(update={"families": families})
