"""Two judged files of answers as a report in the store: report.json, and its page."""

import json
from datetime import UTC, datetime
from importlib.metadata import version

from tasks.benchmarks.budget import Usage, describe_usage
from tasks.benchmarks.figures import Judged
from tasks.comparison.stored_answers import AnswerFiles, JudgedPair
from tasks.core.values import fingerprint
from tasks.reports.html import render_judged
from tasks.reports.judged import JudgedReport
from tasks.reports.stored import PAGE, REPORT
from tasks.stores.artefact import Artefact, Store
from tasks.stores.disk import sha256_of

__all__ = ["judged_report"]


def judged_report(pair: JudgedPair, files: AnswerFiles, store: Store) -> tuple[JudgedReport, Artefact]:
    """Writes the report on two judged files, once for the same judgments, and gives it with its place."""
    first, second = pair.files
    judgments = [sha256_of(path) for path in pair.judgments]  # others once some are asked for again
    name = fingerprint({"first": first.fingerprint, "second": second.fingerprint, "judgments": judgments})
    artefact = store.artefact("comparisons", name[:16])
    if artefact.manifest() and (content := artefact.read(REPORT)):
        return JudgedReport.model_validate_json(content), artefact
    names = pair.comparison.names
    if names[0] == names[1]:
        names = (f"{names[0]} ({files.first.name})", f"{names[1]} ({files.second.name})")
    rows = pair.benchmark.rows(
        Judged(files.first, pair.judgments[0]), Judged(files.second, pair.judgments[1])
    )
    report = JudgedReport(
        names=names,
        verdict=pair.comparison.verdict,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=version("expo-flows"),
        settings=_settings(pair, files),
        answers=rows.answers,
        dialogues=rows.dialogues,
    )
    artefact.write(REPORT, report.model_dump_json(indent=1).encode())
    artefact.write(PAGE, render_judged(report).encode())
    artefact.seal(json.dumps({"names": names, "created": report.created}).encode())
    return report, artefact


def _settings(pair: JudgedPair, files: AnswerFiles) -> dict[str, str]:
    """What the reader needs to judge the figures, and to make them again."""
    first, second = pair.files
    judge, spent = first.judge, sum((found.usage for found in pair.files), Usage())
    return {
        "judge": f"{judge.model} at {judge.url}",
        "judge's sampling": pair.benchmark.judge_sampling(judge),
        "judged": "B against A directly" if files.direct else f"each against {pair.benchmark.reference}",
        "A": f"{files.first.name}, sha256 {first.answers}",
        "B": f"{files.second.name}, sha256 {second.answers}",
        pair.benchmark.reference: f"sha256 {first.reference}",
        "asked": describe_usage(judge.model_copy(update={"max_requests": None, "max_cost": None}), spent),
    }
