"""The questions of a run: a benchmark's file, or a family's own in a benchmark's form."""

from collections.abc import Sequence
from pathlib import Path

from tasks.benchmarks.own_prompts import register
from tasks.benchmarks.registry import benchmark_of_verdict, find_benchmark, is_benchmark
from tasks.benchmarks.table import BENCHMARKS
from tasks.core.errors import InputError
from tasks.core.families import Family
from tasks.core.providers import provider_of
from tasks.core.values import Value
from tasks.core.worker import check_root
from tasks.generation.questions import read_questions
from tasks.stores.disk import sha256_of

__all__ = ["Instructions", "asked_benchmarks", "find_instructions", "instructions_of", "local_file"]


class Instructions(Value):
    """A file of questions, with what answers are judged against where the benchmark's form has that.

    uri        a benchmark's name, a uri of a family's provider, or the path of a file in the form
               of AlpacaEval: a JSON list of {"instruction", "output", "generator"}
    sha256     of the file
    count      how many questions; answers: how many answers they ask for, over all turns
    """

    uri: str
    sha256: str
    count: int
    answers: int
    benchmark: str

    def path(self) -> Path:
        """The file on this machine's disk."""
        return local_file(self.uri)


def find_instructions(uri: str) -> Instructions:
    """Finds the questions, downloading them if need be.

    Raises:
        InputError: there is no such file, or it is not of its form.
        RetryableError: the Hub did not answer.
    """
    benchmark = benchmark_of_verdict(uri)
    path = local_file(uri)
    questions = read_questions(path, benchmark.form)
    return Instructions(
        uri=uri,
        sha256=sha256_of(path),
        count=len(questions),
        answers=sum(len(question.turns) for question in questions),
        benchmark=benchmark.name,
    )


def instructions_of(family: Family, benchmark: str) -> str:
    """The uri of what a benchmark asks of a family: the family's own file, where it may bring one."""
    own = family.instructions if find_benchmark(benchmark).takes_files else None
    return own or benchmark


def asked_benchmarks(benchmarks: Sequence[str], prompts: str | None) -> tuple[str, ...]:
    """The benchmarks of a run: those that it names, and that of its own prompts.

    Raises:
        InputError: the file of prompts cannot be read, or the worker does not allow its place.
    """
    if prompts is None:
        return tuple(benchmarks)
    check_root("prompts", prompts)
    return (*benchmarks, register(Path(prompts).expanduser()))


def local_file(uri: str) -> Path:
    """The file on this machine's disk by its uri; raises as `find_instructions`."""
    if is_benchmark(uri):
        return find_benchmark(uri).questions()
    if provider := provider_of(uri):
        return provider.find(uri)
    path = Path(uri).expanduser().resolve()
    if not path.is_file():
        raise InputError(
            f"instructions {uri!r}: no such file; give a path, or one of {', '.join(BENCHMARKS)}"
        )
    return path
