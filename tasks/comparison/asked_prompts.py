"""The prompts that evaluations ask, which a search may not choose α on."""

from collections.abc import Iterable

from tasks.benchmarks.data import cached
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.registry import benchmark_of_verdict, find_benchmark, measure_of
from tasks.benchmarks.table import BENCHMARKS
from tasks.comparison.instructions import local_file
from tasks.generation.questions import Question, read_questions

__all__ = ["asked_prompts"]

BARE = ("question", "prompt")  # of an item whose turn has a benchmark's own words around it


def asked_prompts(uris: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The prompts by the title of what asks them.

    Of questions by their uris, as `find_instructions` takes them, downloaded if need be; and of every
    benchmark whose data is on this machine.

    Raises:
        InputError: there is no such file, or it is not of its form.
        CorruptError: data on this machine is not what its pinned digest says.
        RetryableError, PermanentError: questions that are asked cannot be had.
    """
    present = (name for name in BENCHMARKS if _is_here(find_benchmark(name)))
    return {measure_of(uri).title: _prompts(uri) for uri in dict.fromkeys((*uris, *present))}


def _is_here(benchmark: Benchmark) -> bool:
    files = benchmark.data_files
    return bool(files) and all(cached(file) for file in files)


def _prompts(uri: str) -> tuple[str, ...]:
    questions = read_questions(local_file(uri), benchmark_of_verdict(uri).form)
    return tuple(text for question in questions for text in _texts(question))


def _texts(question: Question) -> Iterable[str]:
    """What is asked, and a question as its data set has it."""
    bare = (question.item.get(field) for field in BARE)
    return dict.fromkeys((*question.turns, *(text for text in bare if isinstance(text, str) and text)))
