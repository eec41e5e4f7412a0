"""The questions of a run: a benchmark's file, or a family's own in a benchmark's form."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from tasks.benchmarks.own_prompts import register
from tasks.benchmarks.registry import benchmark_of_verdict, find_benchmark, is_benchmark
from tasks.benchmarks.table import BENCHMARKS
from tasks.core.errors import InputError
from tasks.core.families import Family
from tasks.core.providers import provider_of
from tasks.core.text_files import read_json
from tasks.core.values import Value
from tasks.core.worker import check_root
from tasks.generation.questions import read_questions
from tasks.stores.disk import sha256_of, whole_file

__all__ = ["Instructions", "asked_benchmarks", "find_instructions", "instructions_of", "local_file"]


class Instructions(Value):
    """A file of questions, with what answers are judged against where the benchmark's form has that.

    uri        a benchmark's name, with `:N` behind it for a sample of N items, a uri of a family's
               provider, or the path of a file in the form of AlpacaEval: a JSON list of
               {"instruction", "output", "generator"}
    sha256     of the file
    total      how many questions the benchmark has, where these are a sample
    count      how many questions; answers: how many answers they ask for, over all turns
    """

    uri: str
    sha256: str
    count: int
    answers: int
    benchmark: str
    total: int | None = Field(default=None, exclude_if=lambda total: total is None)

    def path(self) -> Path:
        """The file on this machine's disk."""
        return local_file(self.uri)


def find_instructions(uri: str) -> Instructions:
    """Finds the questions, downloading them and what judging the answers needs, if need be.

    Raises:
        InputError: there is no such file, or it is not of its form.
        RetryableError: the Hub did not answer.
        PermanentError: offline, and a file is not on this machine.
    """
    sampled = _sample_of(uri)
    name = sampled[0] if sampled else uri
    benchmark = benchmark_of_verdict(name)
    path = local_file(uri)
    benchmark.fetch_judging_data()
    questions = read_questions(path, benchmark.form)
    return Instructions(
        uri=uri,
        sha256=sha256_of(path),
        count=len(questions),
        answers=sum(len(question.turns) for question in questions),
        benchmark=benchmark.name,
        total=len(read_questions(local_file(name), benchmark.form)) if sampled else None,
    )


def instructions_of(family: Family, benchmark: str) -> str:
    """The uri of what a benchmark asks of a family: the family's own file, where it may bring one."""
    own = family.instructions if find_benchmark(benchmark).takes_files else None
    return own or benchmark


def asked_benchmarks(benchmarks: Sequence[str], prompts: str | None) -> tuple[str, ...]:
    """The benchmarks of a run, each once: those that it names, and that of its own prompts.

    Raises:
        InputError: the file of prompts cannot be read, or the worker does not allow its place.
    """
    names = list(benchmarks)
    if prompts is not None:
        check_root("prompts", prompts)
        names.append(register(Path(prompts).expanduser()))
    return tuple(dict.fromkeys(names))


def local_file(uri: str) -> Path:
    """The file on this machine's disk by its uri; raises as `find_instructions`."""
    if is_benchmark(uri):
        return find_benchmark(uri).questions()
    if sampled := _sample_of(uri):
        return _sample(find_benchmark(sampled[0]).questions(), sampled[1])
    if provider := provider_of(uri):
        return provider.find(uri)
    path = Path(uri).expanduser().resolve()
    if not path.is_file():
        raise InputError(
            f"instructions {uri!r}: no such file; give a path, or one of {', '.join(BENCHMARKS)}"
        )
    return path


def _sample_of(uri: str) -> tuple[str, int] | None:
    """The benchmark and the number of items of `gsm8k:200`; None of every other uri."""
    name, _, number = uri.partition(":")
    return (name, int(number)) if name in BENCHMARKS and number.isdecimal() else None


def _sample(path: Path, size: int) -> Path:
    """A file of so many of a file's instructions: always the same, whatever their order, kept beside it.

    Raises:
        InputError: the file has fewer.
    """
    items = read_json(path)
    if not 0 < size <= len(items):
        raise InputError(f"a sample of {size}: the benchmark has {len(items)} items")
    drawn = sorted(items, key=lambda item: hashlib.sha256(item["instruction"].encode()).digest())[:size]
    chosen = {item["instruction"] for item in drawn}
    sample = path.with_name(f"{path.stem}-{size}.json")
    with whole_file(sample) as part:
        part.write_text(json.dumps([item for item in items if item["instruction"] in chosen][:size]))
    return sample
