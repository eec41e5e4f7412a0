"""What share of the ideal a judging reaches: N requests, so many at once, of a judge that takes a fixed time.

    python -m tests.performance.judging                       as AlpacaEval and pairwise, 16 to 256 at once
    python -m tests.performance.judging --items 64 --latency 0.2 --concurrency 8 --ways pairwise

The judge is on loopback, in a process of its own, and answers every request after the latency. The ideal is
latency × the number of rounds that so many at once need. What is timed is the whole judging, from the files
of answers to the file of judgments; alpaca_eval and openai are imported before. CPU is of this process.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.pairwise_files import Prompt
from tasks.benchmarks.pairwise_judge import Matchup, judge_matchups

__all__ = ["Measured", "main", "measure"]

ANSWER = "word " * 300
Way = Callable[[int, Judge, Path], int]


class Measured(NamedTuple):
    """Seconds of a judging and of the ideal one, and the CPU seconds of this process."""

    requests: int
    seconds: float
    ideal: float
    cpu: float

    @property
    def share(self) -> float:
        """Of the ideal speed that was reached."""
        return self.ideal / self.seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each way and concurrency."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=805)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds of each answer")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        _serve(options.latency)
        return
    for way in options.ways:
        for concurrency in options.concurrency:
            found = measure(way, options.items, options.latency, concurrency)
            print(
                f"{way:10}{concurrency:4} at once: {found.requests} requests in {found.seconds:.1f} s, ideal "
                f"{found.ideal:.1f} s: {found.share:.2f} of it; {found.cpu:.1f} CPU s",
                flush=True,
            )


def measure(way: str, items: int, latency: float, concurrency: int) -> Measured:
    """One judging of `items` pairs of answers by a judge that takes `latency` seconds for each request."""
    with _judge_server(latency) as url, tempfile.TemporaryDirectory() as work:
        judge = Judge(model="fixed", base_url=url, max_concurrency=concurrency)
        WAYS[way](1, judge, Path(work) / "imports")
        begin, cpu = time.monotonic(), time.process_time()
        requests = WAYS[way](items, judge, Path(work) / "judging")
        seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
    return Measured(requests, seconds, latency * math.ceil(requests / concurrency), cpu)


def _alpaca(items: int, judge: Judge, folder: Path) -> int:
    from tasks.benchmarks.alpaca_judge import judge_answers

    folder.mkdir()
    files = []
    for generator, text in (("reference", ANSWER), ("expo", f"{ANSWER} and more")):
        rows = [
            {"instruction": f"question {n}", "output": f"{n} {text}", "generator": generator}
            for n in range(items)
        ]
        files.append(folder / f"{generator}.json")
        files[-1].write_text(json.dumps(rows))
    reference, answers = files
    judge_answers(answers, reference, judge, folder / "judged", advance=lambda _: None)
    return items


def _pairwise(items: int, judge: Judge, folder: Path) -> int:
    matchups = [
        Matchup(
            Prompt(str(n), "hard_prompt", f"question {n}"), f"{n} {ANSWER}", f"{ANSWER} {n}", "expo", "base"
        )
        for n in range(items)
    ]
    judge_matchups(matchups, judge, folder, advance=lambda _: None)
    return 2 * items


WAYS: dict[str, Way] = {"alpaca": _alpaca, "pairwise": _pairwise}


@contextmanager
def _judge_server(latency: float) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.performance.judging", "--serve", "--latency", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()  # its end is the server's


def _serve(latency: float) -> None:
    """Answers until standard input ends; the longer answer wins, as in the tests."""
    from tests.servers.judge import JudgeServer

    def longer(first: str, second: str) -> bool:
        time.sleep(latency)
        return len(first) > len(second)

    def says(_: object) -> str:
        time.sleep(latency)
        return "My final verdict is: [[A>B]]"

    with JudgeServer() as judge:
        judge.prefers, judge.says = longer, says
        print(judge.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
