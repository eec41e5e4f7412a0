"""Benchmarks by name. The module of one is imported when it is asked for."""

from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tasks.benchmarks import own_prompts
from tasks.benchmarks.data import DataFile
from tasks.benchmarks.figures import Measure
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.table import BENCHMARKS, DEFAULT
from tasks.core.errors import InputError
from tasks.core.values import fingerprint

__all__ = [
    "BenchmarkName",
    "benchmark_names",
    "benchmark_of_verdict",
    "data_files",
    "find_benchmark",
    "is_benchmark",
    "judge_fingerprint",
    "measure_of",
]


def benchmark_names() -> tuple[str, ...]:
    """All names, in the order of the table."""
    return tuple(BENCHMARKS)


def find_benchmark(name: str) -> Benchmark:
    """One benchmark by name.

    Raises:
        InputError: there is none; the message names those that there are.
    """
    if own_prompts.is_own(name):
        return own_prompts.benchmark_of(name)
    if name not in BENCHMARKS:
        raise InputError(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    benchmark: Benchmark = import_module(BENCHMARKS[name]).BENCHMARK
    return benchmark


def is_benchmark(name: str) -> bool:
    """Whether a name is one of the table, or that of prompts of one's own that were registered."""
    return name in BENCHMARKS or own_prompts.is_own(name)


def benchmark_of_verdict(name: str) -> Benchmark:
    """The benchmark that a verdict names; of a family's own file (a path, demo:…) the one of its form."""
    return find_benchmark(name if is_benchmark(name) else DEFAULT)


def measure_of(name: str) -> Measure:
    """How the scores of a verdict's benchmark are written; a family's own file has its own name as title."""
    measure = benchmark_of_verdict(name).measure
    return measure if is_benchmark(name) else measure.model_copy(update={"title": name, "dataset": name})


def data_files() -> tuple[DataFile, ...]:
    """What all benchmarks download, in the order of the table."""
    return tuple(file for name in BENCHMARKS for file in find_benchmark(name).data_files)


def judge_fingerprint(judge: Judge, benchmark: str) -> str:
    """sha256 (64 hex digits) of what decides a judge's judgments of a benchmark: who, prompts, sampling.

    Speed, retries and time limits do not, nor does the port of an endpoint on this machine, which
    differs from run to run.

    Raises:
        InputError, PermanentError, RetryableError: the checkpoint to serve cannot be opened.
    """
    return fingerprint(judge.identity() | find_benchmark(benchmark).judge_identity(judge))


def _known(name: str) -> str:
    if not is_benchmark(name):
        raise ValueError(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    return name


def _name_choices(schema: dict[str, Any]) -> None:
    schema["enum"] = list(BENCHMARKS)


# A benchmark's name as a parameter: a choice in the form of Prefect's UI.
BenchmarkName = Annotated[str, AfterValidator(_known), Field(json_schema_extra=_name_choices)]
