"""The command `expo judge`: two files of answers that exist, judged and compared."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.judge_options import make_judge
from flows.cli.option_groups import with_options
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge

__all__ = ["judge"]


@with_options("by", make_judge)
def judge(
    first: Annotated[Path, typer.Argument(help="Answers of one model.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Answers of another to the same questions.", metavar="B")],
    by: "Judge | None" = None,
    direct: Annotated[
        bool, typer.Option(help="B against A in both orders, in place of both against a reference.")
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(help="Other questions, or AlpacaEval's reference outputs, in the benchmark's form."),
    ] = None,
    rejudge: Annotated[
        Literal["failed"] | None,
        typer.Option(help="Ask once more for the items that finished judgings have no judgment of."),
    ] = None,
    store: Annotated[str, typer.Option(envvar="EXPO_STORE", help="Where it is kept.")] = "expo-store",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of words.")] = False,
) -> None:
    """Judges two files of answers and compares them: no model, no family, no run.

    AlpacaEval's model_outputs.json, or JSON lines of MT-Bench or Arena-Hard. Killed and started again,
    only what was in flight is asked once more.
    """
    from rich.console import Console
    from rich.progress import Progress

    from tasks.comparison.judged_report import judged_report
    from tasks.comparison.stored_answers import AnswerFiles, benchmark_of_answers, judge_files
    from tasks.reports.judged import pair_sentence
    from tasks.reports.sentences import length_controlled, reason
    from tasks.reports.stored import PAGE
    from tasks.stores.artefact import Store

    if by is None:
        raise InputError("judge: no judge; give --judge-preset, --judge-model or --judge-serve")
    if direct and reference is not None:
        raise InputError("judge: --direct judges B against A, --reference both against a third; give one")
    files, place = AnswerFiles(first, second, reference, direct), Store(store)
    benchmark_of_answers(files)  # refused before a bar is shown
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"judged by {by.model}", total=None)
        pair = judge_files(
            files,
            by,
            place,
            advance=lambda amount: progress.advance(bar, amount),
            again=rejudge == "failed",
        )
    report, artefact = judged_report(pair, files, place)
    if as_json:
        print(report.model_dump_json(indent=1, exclude={"answers", "dialogues"}))
        return
    print(pair_sentence(report))
    print(f"{reason(report.verdict)} {length_controlled(report.verdict)}".rstrip())
    print(f"report: {artefact.uri}/{PAGE}")
