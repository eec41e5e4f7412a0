"""A report for other programs: rows that can be read back, LaTeX that is escaped, sources that were used."""

import csv
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.benchmarks.registry import find_benchmark
from tasks.benchmarks.table import BENCHMARKS
from tasks.reports.exports import bibtex, csv_table, latex_table
from tasks.reports.run_report import FamilyReport, RunReport
from tasks.stores.artefact import Store

FamilyMaker = Callable[..., FamilyReport]


def test_csv_has_every_verdict_unrounded(many: RunReport) -> None:
    rows = list(csv.DictReader(StringIO(csv_table(many))))
    assert [row["family"] for row in rows] == [verdict.family for verdict in many.verdicts]
    for row, verdict in zip(rows, many.verdicts, strict=True):
        assert float(row["gain"]) == verdict.difference.mean and row["outcome"] == verdict.outcome
        assert row["lc_gain"] == ("" if verdict.lc_gain is None else str(verdict.lc_gain))


def test_latex_is_escaped_and_a_table_for_each_judge(make_family: FamilyMaker, run_report: RunReport) -> None:
    one, other = run_report.families[0], make_family("demo", judge="other_judge")
    odd = other.model_copy(
        update={
            "verdicts": tuple(
                verdict.model_copy(update={"family": r"50%_a&b\x"}) for verdict in other.verdicts
            )
        }
    )
    table = latex_table(run_report.model_copy(update={"families": (one, odd)}))
    assert table.count(r"\begin{tabular}") == table.count(r"\end{tabular}") == 2
    assert r"50\%\_a\&b\textbackslash{}x & " in table
    for row in re.findall(r"^.*\\\\$", table, re.M):
        assert len(re.findall(r"(?<!\\)&", row)) == 6


def test_sources_are_those_of_what_was_used(run_report: RunReport) -> None:
    found = bibtex(run_report)
    assert "2404.16792" in found and "2404.04475" in found and "2306.05685" not in found
    assert "% judged by demo:rule" in found and found.count("{") == found.count("}")


def test_each_benchmark_has_a_source() -> None:
    for name in BENCHMARKS:
        citation = find_benchmark(name).citation
        assert citation.startswith("@") and citation.count("{") == citation.count("}"), name
        assert all(f"  {field} = {{" in citation for field in ("title", "author", "year")), name
        assert re.search(r"arXiv[: a-z]*:\d{4}\.\d{5}", citation) and "others" not in citation, name


@pytest.mark.parametrize("option", ["--csv", "--latex", "--cite", "--json"])
def test_the_command_prints_one_form(run_report: RunReport, tmp_path: Path, option: str) -> None:
    artefact = Store(str(tmp_path)).artefact("reports", run_report.name)
    artefact.write("report.json", run_report.model_dump_json().encode())
    artefact.seal(b"{}")
    done = CliRunner().invoke(app, ["report", "--store", str(tmp_path), option])
    assert done.exit_code == 0, done.output
    forms = {"--csv": csv_table, "--latex": latex_table, "--cite": bibtex}
    if option == "--json":
        assert RunReport.model_validate_json(done.stdout) == run_report
    else:
        assert done.stdout == forms[option](run_report)
    both = CliRunner().invoke(app, ["report", "--store", str(tmp_path), option, "--csv", "--cite"])
    assert both.exit_code != 0
