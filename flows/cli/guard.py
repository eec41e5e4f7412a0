"""The command `expo guard`: stored answers to a verifiable benchmark, scored on this machine."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.benchmarks import AS_JSON, MIN_JUDGED, print_score
from tasks.benchmarks.table import BENCHMARKS
from tasks.core.errors import InputError

__all__ = ["guard"]


def guard(
    benchmark: Annotated[
        str,
        typer.Argument(metavar="BENCHMARK", help="One that a rule verifies: ifeval, ifbench, gsm8k."),
    ],
    answers: Annotated[Path, typer.Argument(help='Answers: a JSON list of {"instruction", "output"}.')],
    judgments: Annotated[
        Path | None,
        typer.Option(
            help="Where each answer's finding goes, for `expo compare`; a name that ends in .jsonl."
        ),
    ] = None,
    min_judged: MIN_JUDGED = 0.95,
    as_json: AS_JSON = False,
) -> None:
    """Scores stored answers of IFEval, IFBench or GSM8K by rules; nobody is asked."""
    from tasks.benchmarks.judge_config import Judge
    from tasks.benchmarks.registry import find_benchmark

    found = find_benchmark(benchmark) if benchmark in BENCHMARKS else None
    rule: Judge | None = found.own_judge() if found else None
    if found is None or rule is None:
        verified = [name for name in BENCHMARKS if find_benchmark(name).own_judge()]
        raise InputError(
            f"{benchmark!r} is no benchmark that a rule verifies; there are {', '.join(verified)}"
        )
    if judgments is not None and judgments.suffix != ".jsonl":
        raise InputError(
            f"--judgments {judgments}: judgments are JSON lines; give a name that ends in .jsonl"
        )
    if judgments is not None and not judgments.parent.is_dir():
        raise InputError(f"--judgments {judgments}: there is no folder {judgments.parent}; make it first")
    found.require()
    with tempfile.TemporaryDirectory() as folder:
        file = found.judge(answers, found.questions(), rule, Path(folder), advance=lambda _: None)
        if judgments is not None:
            judgments.write_bytes(file.read_bytes())
        score = found.score(file, min_judged=min_judged)
    print_score(score, as_json)
