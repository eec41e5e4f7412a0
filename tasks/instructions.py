"""Stage instructions: what is asked, with the reference outputs that answers are judged against."""

from pathlib import Path

from tasks.core.errors import ExpoError, InputError
from tasks.core.providers import provider_of
from tasks.core.values import Value
from tasks.generation.questions import read_questions
from tasks.generation.settings import Benchmark
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stores.disk import sha256_of

__all__ = ["ALPACA_EVAL", "MT_BENCH", "Instructions", "instructions", "local_file"]

ALPACA_EVAL = "alpaca_eval"
MT_BENCH = "mt_bench"


class Instructions(Value):
    """A benchmark's file: a JSON list of {"instruction", "output", "generator"} in AlpacaEval's form,
    or MT-Bench's questions in FastChat's.

    uri        "alpaca_eval" (the 805 of AlpacaEval 2.0), "mt_bench", what a provider has
               ("demo:instructions"), or the path of a file in AlpacaEval's form
    sha256     of the file
    count      how many instructions; answers: how many answers they ask for, over all turns
    """

    uri: str
    sha256: str
    count: int
    answers: int
    benchmark: Benchmark = "alpaca_eval"

    def path(self) -> Path:
        """The file on this machine's disk."""
        return local_file(self.uri)


@stage("instructions {uri}")
def instructions(uri: str) -> Instructions:
    """Finds the instructions, fetching them if need be.

    Raises:
        InputError: there is no such file.
        RetryableError: the Hub did not answer.
    """
    path = local_file(uri)
    benchmark: Benchmark = "mt_bench" if uri == MT_BENCH else "alpaca_eval"
    questions = read_questions(path, benchmark)
    answers = sum(len(question.turns) for question in questions)
    return Instructions(
        uri=uri, sha256=sha256_of(path), count=len(questions), answers=answers, benchmark=benchmark
    )


def local_file(uri: str) -> Path:
    """The instructions' file on this machine's disk, by its uri; raises as `instructions`."""
    if uri == ALPACA_EVAL:
        return _alpaca_eval()
    if uri == MT_BENCH:
        from tasks.benchmarks.data import mt_bench_files

        return mt_bench_files().questions
    if provider := provider_of(uri):
        return provider.find(uri)
    path = Path(uri).expanduser().resolve()
    if not path.is_file():
        raise InputError(f"instructions {uri!r}: no such file; give a path, {ALPACA_EVAL!r} or {MT_BENCH!r}")
    return path


def _alpaca_eval() -> Path:
    from tasks.benchmarks.data import DIFFICULTY, REFERENCE, fetch

    reference = fetch(REFERENCE)
    try:
        fetch(DIFFICULTY)
    except ExpoError as error:
        run_logger().warning(f"there will be no length-controlled win rate: {error}")
    return reference
