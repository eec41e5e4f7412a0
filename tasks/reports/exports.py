"""A report as other programs read it: CSV, a LaTeX table, and what its figures rest on as BibTeX."""

import csv
from collections.abc import Sequence
from io import StringIO

from tasks.benchmarks.registry import benchmark_names, find_benchmark, measure_of
from tasks.core.text_files import one_line
from tasks.reports.guards import guards_in_short, with_guards
from tasks.reports.run_report import RunReport
from tasks.reports.text import by_benchmark
from tasks.stats import formatting
from tasks.stats.decision import Verdict

__all__ = ["bibtex", "csv_table", "latex_table"]

COLUMNS = (
    *("run", "family", "alpha", "benchmark", "judge", "outcome", "unit", "original", "expo", "gain", "lower"),
    *("upper", "p", "p_adjusted", "compared", "lc_gain", "length_increase", "judged", "not_judged"),
)
# of each guard of the run, behind its name
GUARD_COLUMNS = (
    *("original", "expo", "difference", "lower", "upper", "margin", "p", "p_adjusted", "finding"),
    *("judged", "not_judged"),
)
LATEX = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$"},
    **{character: f"\\{character}" for character in "&%$#_{}"},
}

PAPER = """@inproceedings{zheng2025expo,
  title = {Model Extrapolation Expedites Alignment},
  author = {Zheng, Chujie and Wang, Ziqi and Ji, Heng and Huang, Minlie and Peng, Nanyun},
  booktitle = {Proceedings of the 63rd Annual Meeting of the Association for Computational Linguistics
    (Volume 1: Long Papers)},
  pages = {1025--1041},
  year = {2025},
  doi = {10.18653/v1/2025.acl-long.51},
  note = {arXiv:2404.16792}
}"""
PAIRED = """@article{miller2024error,
  title = {Adding Error Bars to Evals: A Statistical Approach to Language Model Evaluations},
  author = {Miller, Evan},
  journal = {arXiv preprint arXiv:2411.00640},
  year = {2024}
}"""


def csv_table(run: RunReport) -> str:
    """Every verdict as a row with its guards, figures unrounded; a figure that there is none of is empty."""
    file, guards = StringIO(), _guards(run)
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow([*COLUMNS, *(f"{guard}_{column}" for guard in guards for column in GUARD_COLUMNS)])
    for verdict in run.verdicts:
        found = verdict.difference
        rows.writerow(
            [
                *(run.name, verdict.family, verdict.alpha, verdict.benchmark, verdict.judge, verdict.outcome),
                *(verdict.unit, verdict.original.score, verdict.expo.score),
                *(found.mean, found.lower, found.upper, found.p_value, verdict.p_adjusted, verdict.compared),
                *("" if verdict.lc_gain is None else verdict.lc_gain, verdict.length_increase),
                *(verdict.n_judged, verdict.n_failed),
                *(cell for guard in guards for cell in _guard_cells(verdict, guard)),
            ]
        )
    return file.getvalue()


def latex_table(run: RunReport) -> str:
    """A `tabular` (package booktabs) for each benchmark and judge: figures by two judges share none."""
    return "\n".join(
        _tabular(benchmark, judge, rows) for (benchmark, judge), rows in by_benchmark(run.verdicts)
    )


def bibtex(run: RunReport) -> str:
    """The paper, the benchmarks and the statistics as BibTeX; judges and versions as comments before them."""
    used = [*dict.fromkeys(verdict.benchmark for verdict in run.verdicts), *_guards(run)]
    rules = {guard.rule for verdict in run.verdicts for guard in verdict.guards}
    settings = {
        f"% {one_line(family.family)}: {one_line(name)}: {one_line(value)}"
        for family in run.families
        for name, value in family.settings.items()
        if "engine" in name or "judge" in name or name == "recipe"
    }
    lines = [
        f"% run {one_line(run.name)}, expo-flows {one_line(run.code_version)}",
        *(f"% judged by {one_line(judge)}" for judge in run.judges),
        *(f"% guards verified by {one_line(rule)}" for rule in sorted(rules)),
        *sorted(settings),
        *(f"% {measure_of(name).title}: no publication" for name in used if not _citation(name)),
    ]
    entries = [PAPER, *dict.fromkeys(filter(None, map(_citation, used))), PAIRED]
    return "\n".join([*lines, "", "\n\n".join(entries)]) + "\n"


def _guards(run: RunReport) -> tuple[str, ...]:
    """The names of all guards, each once."""
    return tuple(dict.fromkeys(guard.benchmark for verdict in run.verdicts for guard in verdict.guards))


def _guard_cells(verdict: Verdict, name: str) -> list[object]:
    """A guard's `GUARD_COLUMNS`, empty where the verdict does not have it."""
    for guard in verdict.guards:
        if guard.benchmark == name:
            return [
                *(guard.original.score, guard.expo.score, guard.mean, guard.lower, guard.upper, guard.margin),
                *(guard.p_value, guard.p_adjusted, guard.finding, guard.n_judged, guard.n_failed),
            ]
    return [""] * len(GUARD_COLUMNS)


def _citation(benchmark: str) -> str:
    """The benchmark's publication, "" of a family's own instructions."""
    return find_benchmark(benchmark).citation if benchmark in benchmark_names() else ""


def _tabular(benchmark: str, judge: str, verdicts: Sequence[Verdict]) -> str:
    measure, guarded = measure_of(benchmark), bool(with_guards(verdicts))
    lines = [
        f"% {measure.title}, judged by {one_line(judge)}",
        rf"\begin{{tabular}}{{lrrrrrl{'l' * guarded}}}",
        r"\toprule",
        r"family & $\alpha$ & original & + ExPO & gain (95\% interval) & $p$ & outcome"
        + (r" & guards \\" if guarded else r" \\"),
        r"\midrule",
    ]
    for verdict in verdicts:
        found = verdict.difference
        gain = f"{formatting.signed(found.mean)} ({formatting.interval(found.lower, found.upper)})"
        cells = [
            _escaped(one_line(verdict.family)),
            f"{verdict.alpha:g}",
            f"{verdict.original.score:.{measure.digits}f}",
            f"{verdict.expo.score:.{measure.digits}f}",
            _escaped(gain),
            _escaped(formatting.p_value(verdict.p_adjusted)).replace("<", "$<$"),
            verdict.outcome,
            *([_escaped(guards_in_short(verdict))] if guarded else []),
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
