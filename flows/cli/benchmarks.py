"""The commands about benchmarks: score, compare, agreement, data, anchors. Only `anchors` asks a judge."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.judge_options import make_judge
from flows.cli.option_groups import with_options
from tasks.benchmarks.table import BENCHMARKS
from tasks.core.errors import CorruptError, ExpoError, InputError

if TYPE_CHECKING:
    from tasks.benchmarks.figures import Score
    from tasks.benchmarks.judge_config import Judge
    from tasks.stats.decision import Verdict

__all__ = [
    "AS_JSON",
    "MIN_JUDGED",
    "NAMES",
    "agreement",
    "anchors",
    "benchmark_name",
    "compare",
    "data",
    "print_score",
    "score",
]

AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")]
DIFFICULTY = Annotated[
    Path | None,
    typer.Option(help="df_gamed.csv for length control; default: as fetched by `expo data fetch`."),
]
MIN_JUDGED = Annotated[
    float, typer.Option(min=0, max=1, help="The share of judged items below which there is no figure.")
]
# fields of a verdict that files of judgments do not have
UNKNOWN = {"family", "alpha", "p_adjusted", "compared", "published", "original", "expo", "lc_note"}

NAMES = ", ".join(BENCHMARKS)


def benchmark_name(text: str) -> str:
    """A benchmark's name as an argument of the command; refuses what is none."""
    if text not in BENCHMARKS:
        raise typer.BadParameter(f"{text!r} is no benchmark; there are {', '.join(BENCHMARKS)}")
    return text


data = typer.Typer(help="The benchmarks' data: fetch it beforehand, see what is there.", no_args_is_help=True)


def score(
    benchmark: Annotated[
        str,
        typer.Argument(parser=benchmark_name, metavar="BENCHMARK", help=f"Whose form the file has: {NAMES}."),
    ],
    file: Annotated[Path, typer.Argument(help="Judgments, as a run leaves them.")],
    difficulty: DIFFICULTY = None,
    min_judged: MIN_JUDGED = 0.95,
    as_json: AS_JSON = False,
) -> None:
    """Prints the figures of a file of judgments, of a run here or of anybody else's."""
    from tasks.benchmarks.registry import find_benchmark

    print_score(find_benchmark(benchmark).score(file, min_judged=min_judged, extra=difficulty), as_json)


def print_score(score: "Score", as_json: bool) -> None:
    """Prints the figures of a file of judgments as a table, or as JSON."""
    if as_json:
        print(score.model_dump_json(indent=1))
    else:
        _print_table(_lines(score))


def compare(
    first: Annotated[Path, typer.Argument(help="Judgments of one model.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Judgments of another by the same judge.", metavar="B")],
    difficulty: DIFFICULTY = None,
    as_json: AS_JSON = False,
) -> None:
    """Decides whether B's model is better than A's, paired by what was asked."""
    from tasks.benchmarks.registry import measure_of
    from tasks.comparison.compare import compare as decide
    from tasks.stats.formatting import change, effect, interval, p_value, signed

    (before, after), scores, verdict = decide(first, second, difficulty)
    if as_json:
        figures = {name: score.model_dump() for name, score in zip(("a", "b"), scores, strict=True)}
        content = {"models": [before, after], **figures, "verdict": verdict.model_dump(exclude=UNKNOWN)}
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return
    found = verdict.difference
    lines = {
        "A": before,
        "B": after,
        "judge": verdict.judge,
        measure_of(verdict.benchmark).axis: change(verdict.original.score, verdict.expo.score, 2),
        **_lengths(verdict),
        "B − A": f"{signed(found.mean)} {verdict.unit}",
        "95% interval": f"{interval(found.lower, found.upper)} ({found.n} units, paired)",
        "sign-flip p": p_value(found.p_value),
        "smallest effect found with 80% power": effect(found.detectable),
        "judged in both": f"{verdict.n_judged}, {verdict.n_failed} not",
    }
    _print_table(lines)
    print(f"B against A: {verdict.outcome}: {verdict.rule}.")
    if verdict.warning:
        print(f"Beware: {verdict.warning}.")


@data.command()
def fetch(
    source: Annotated[
        Path | None, typer.Option("--from", help="Take them from a folder, whatever they are called there.")
    ] = None,
) -> None:
    """Gets every file that the benchmarks need, and the default prompts of a search, checked by sha256."""
    from tasks.benchmarks.data import fetch as get
    from tasks.benchmarks.data import import_from
    from tasks.benchmarks.registry import data_files
    from tasks.search.ultrafeedback import PROMPTS

    files = (*data_files(), PROMPTS)
    if source is not None:
        for file in import_from(source, files):
            print(f"{file.name}: taken")
    else:
        for file in files:
            try:
                get(file)
            except ExpoError as error:  # the others may still be reachable
                print(f"error: {error}", file=sys.stderr)
    status()


@data.command()
def status() -> None:
    """Says which files are on this machine; exit status 1 if a benchmark's is missing or one is damaged."""
    from tasks.benchmarks.data import cached
    from tasks.benchmarks.registry import data_files
    from tasks.search.ultrafeedback import PROMPTS

    complete = True
    for file in (*data_files(), PROMPTS):
        try:
            path = cached(file)
            absent = "for `expo search` alone" if file == PROMPTS else "not here"
            said = f"{absent}; `expo data fetch`" if path is None else str(path)
        except CorruptError as error:
            path, said = None, f"damaged: {error}"
        needed = file != PROMPTS or said.startswith("damaged")
        complete = complete and (path is not None or not needed)
        print(f"{file.name:<38} {said}")
    if not complete:
        raise typer.Exit(1)


@with_options("judge", make_judge, only=("judge_model", "judge_preset", "judge_url", "judge_serve"))
def anchors(
    annotations: Annotated[Path, typer.Argument(help="Stored annotations of AlpacaEval's form.")],
    judge: "Judge | None" = None,
    sample: Annotated[int, typer.Option(min=2, help="How many pairs are judged again.")] = 200,
    occasion: Annotated[str, typer.Option(help="A name, as a date, to measure the judge once more.")] = "",
    store: Annotated[str, typer.Option(envvar="EXPO_STORE", help="Where it is kept.")] = "expo-store",
    as_json: AS_JSON = False,
) -> None:
    """Judges a sample of stored annotations again, and measures the agreement with their judge."""
    from tasks.anchors import anchors as measure
    from tasks.stats.agreement import agreement_sentence

    if judge is None:
        raise InputError("anchors: no judge; give --judge-model, --judge-preset or --judge-serve")
    found = measure.fn(str(annotations), judge, store, sample, occasion)
    print(found.model_dump_json(indent=1) if as_json else agreement_sentence(found.agreement))


def agreement(
    first: Annotated[Path, typer.Argument(help="Judgments by one judge.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Judgments of the same answers by another.", metavar="B")],
    as_json: AS_JSON = False,
) -> None:
    """Shows how far two judges agree on the same answers, with a table of their choices."""
    from rich.console import Console
    from rich.table import Table

    from tasks.comparison.two_judges import compare_judges
    from tasks.core.text_files import one_line
    from tasks.stats.agreement import agreement_sentence

    found = compare_judges(first, second)
    if as_json:
        content = {"model": found.model, "choices": found.choices, **found.agreement.model_dump()}
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return
    judges, chosen = (found.agreement.earlier, found.agreement.present), ("reference", "neither", "answer")
    table = Table(box=None, pad_edge=False)
    for name in (f"{judges[0]} \\ {judges[1]}", *chosen):
        table.add_column(one_line(name), justify="left" if name not in chosen else "right")
    for name, row in zip(chosen, found.choices, strict=True):
        table.add_row(name, *map(str, row))
    Console().print(table)
    print(one_line(agreement_sentence(found.agreement)))


def _lines(score: "Score") -> dict[str, str]:
    """A score's fields for the table: rates with two digits, a missing figure by its note."""
    from tasks.stats.formatting import counts

    lines: dict[str, str] = {}
    for name, value in score.model_dump().items():
        label = name.replace("_", " ")
        if name == "not_judged":
            lines |= {label: counts(value)} if value else {}
        elif isinstance(value, dict):
            lines |= {label: ""} if value else {}
            lines |= {f"  {category}": _text(figure) for category, figure in value.items()}
        elif value is not None and value != "":
            # why there is no figure stands in the figure's place
            lines[label if name != "standard_error_note" else "standard error"] = _text(value)
    return lines


def _lengths(verdict: "Verdict") -> dict[str, str]:
    """Lengths and length-controlled figures, where the files have them."""
    from tasks.benchmarks.registry import measure_of
    from tasks.stats.formatting import change, interval, signed

    before, after = verdict.original, verdict.expo
    lines = {"mean length": change(before.mean_length, after.mean_length, 0)} if before.mean_length else {}
    if before.lc_win_rate is not None and after.lc_win_rate is not None:
        controlled = f"{measure_of(verdict.benchmark).control}-controlled"
        lines[f"{controlled}, %"] = change(before.lc_win_rate, after.lc_win_rate, 2)
        if verdict.lc_gain is not None and verdict.lc_interval:
            lines[f"{controlled} B − A"] = (
                f"{signed(verdict.lc_gain)} (95% interval {interval(*verdict.lc_interval)})"
            )
    return lines


def _text(value: Any) -> str:  # noqa: ANN401 - any field of a score
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(figure)}" for name, figure in value.items())
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _print_table(lines: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in lines.items():
        table.add_row(Text(name), Text(value, overflow="fold"))
    Console(soft_wrap=False).print(table)
