"""Stage instructions: what is asked, with the reference outputs that answers are judged against."""

import json
from pathlib import Path

from tasks.errors import ExpoError, InputError
from tasks.progress import run_logger
from tasks.stage import stage
from tasks.stores.source import sha256_of
from tasks.values import Value

__all__ = ["ALPACA_EVAL", "Instructions", "instructions"]

ALPACA_EVAL = "alpaca_eval"


class Instructions(Value):
    """A file in AlpacaEval's form: a JSON list of {"instruction", "output", "generator"}.

    uri     "alpaca_eval" (the 805 of AlpacaEval 2.0), "demo:instructions", "demo:alphas", or a path
    sha256  of the file; count: how many instructions
    """

    uri: str
    sha256: str
    count: int

    def path(self) -> Path:
        """The file on this machine's disk."""
        return _local(self.uri)


@stage("instructions {uri}")
def instructions(uri: str) -> Instructions:
    """Finds the instructions, fetching them if need be.

    Raises:
        InputError: there is no such file.
        RetryableError: the Hub did not answer.
    """
    path = _local(uri)
    return Instructions(uri=uri, sha256=sha256_of(path), count=len(json.loads(path.read_text())))


def _local(uri: str) -> Path:
    if uri == ALPACA_EVAL:
        return _alpaca_eval()
    if uri.startswith("demo:"):
        from tasks.demo.family import benchmark_file

        return benchmark_file(uri)
    path = Path(uri).expanduser().resolve()
    if not path.is_file():
        raise InputError(f"instructions {uri!r}: no such file; give a path, or {ALPACA_EVAL!r}")
    return path


def _alpaca_eval() -> Path:
    from tasks.benchmarks.data import DIFFICULTY, REFERENCE, fetch

    reference = fetch(REFERENCE)
    try:
        fetch(DIFFICULTY)
    except ExpoError as error:
        run_logger().warning(f"there will be no length-controlled win rate: {error}")
    return reference
