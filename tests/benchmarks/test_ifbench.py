"""IFBench, scored by if-verifiable without a network, against the package's own evaluation."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tasks.benchmarks import ifbench, nltk_files, scorers
from tasks.benchmarks.figures import Judged
from tasks.benchmarks.instruction_following import InstructionScore
from tasks.benchmarks.registry import benchmark_names, find_benchmark
from tasks.core.errors import CorruptError, PermanentError
from tests.benchmarks.instruction_files import IFBENCH, use_small_ifbench
from tests.benchmarks.test_verified import judged
from tests.waiting import LIMIT

# the second begins with no verb; the last follows its instruction without the first line
ANSWERS = ["It has 2 cows and 30 hens.", "Pears ripen", "walls are", "Sure!\nnospace"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_small_ifbench(tmp_path, monkeypatch)
    return tmp_path


def followed(folder: Path, answers: Sequence[str], name: str = "m") -> Judged:
    prompts = [document["prompt"] for document in IFBENCH]
    return judged(ifbench.BENCHMARK, folder, list(zip(prompts, answers, strict=True)), name)


def test_prompts_and_instructions_strictly_and_loosely(small: Path) -> None:
    found = followed(small, ANSWERS).judgments
    score = ifbench.BENCHMARK.score(found)
    assert isinstance(score, InstructionScore)
    assert (score.prompt_strict, score.prompt_loose) == (25, 50)
    assert (score.instruction_strict, score.instruction_loose) == (40, 60)
    assert score.kinds == {"count": 100, "format": 100, "ratio": 100, "repeat": 0, "words": 0}
    assert score.metrics().score == 50 and score.judge == "if-verifiable 0.1.2: ifbench"
    assert ifbench.BENCHMARK.item_scores(found) == {0: 100, 1: 0, 286: 0, 299: 100}
    names = [name for name in benchmark_names() if find_benchmark(name).recognizes(found)]
    assert names == ["ifbench"]


def test_each_answer_scores_as_in_the_package_itself(small: Path) -> None:
    found = followed(small, ANSWERS).judgments
    from if_verifiable import IFBenchSample, evaluate_output_for_sample

    rows = [json.loads(line) for line in found.read_text().splitlines()]
    for document, answer, row in zip(IFBENCH, ANSWERS, rows, strict=True):
        results, scores = evaluate_output_for_sample("ifbench", IFBenchSample(**document), answer)
        assert row["details"]["instructions"] == [result.instruction_id for result in results]
        assert row["details"]["strict"] == [result.strict_pass for result in results]
        assert row["details"]["loose"] == [result.loose_pass for result in results]
        assert row["score"] == 100 * scores.binary_loose


def test_what_one_arm_lost_is_named(small: Path) -> None:
    after = followed(small, [*ANSWERS[:3], "two words"], "after")
    (lost,) = ifbench.BENCHMARK.rows(followed(small, ANSWERS, "before"), after).dialogues
    assert lost.turns[0].original_judgment == "all instructions followed"
    assert lost.turns[0].expo_judgment == "not followed: format:no_whitespace"


@pytest.mark.usefixtures("small")
def test_a_span_that_the_package_draws_is_the_same_each_time() -> None:
    """One of the spans of four words is the one that was drawn, whenever they are checked."""
    words = ["the", "walls", "are", "solid"]
    spans = [" ".join(words[first:last]) for first in range(4) for last in range(first + 1, 5)]
    check = ifbench.BENCHMARK.checker()
    found = [[check(IFBENCH[2], span)[0] for span in spans] for _ in range(3)]
    assert found[0] == found[1] == found[2] and found[0].count([True]) == 1


def test_an_answer_without_a_word_follows_nothing(small: Path) -> None:
    score = ifbench.BENCHMARK.score(followed(small, ["", "\n", "<think>and no more", " "]).judgments)
    assert isinstance(score, InstructionScore)
    assert (score.prompt_loose, score.instruction_loose, score.n_total) == (0, 0, 4)


@pytest.mark.usefixtures("small")
def test_an_instruction_without_a_checker_is_damage() -> None:
    check = ifbench.BENCHMARK.checker()
    with pytest.raises(CorruptError, match="has no checker of 'format:sing'"):
        check({**IFBENCH[3], "instruction_id_list": ["format:sing"]}, "la")


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(scorers, "version", missing)
    with pytest.raises(PermanentError, match="IFBench is scored by if-verifiable, which is not installed"):
        ifbench.BENCHMARK.require()


OFFLINE = """
import json, os, socket, sys

def refuse(*_, **__):
    raise SystemExit("the network was asked")

socket.socket.connect = socket.getaddrinfo = refuse
os.umask(0o002)
import nltk
nltk.download = refuse
from tasks.benchmarks import ifbench, nltk_files
from tasks.benchmarks.data import DataFile
for name, path in json.loads(sys.argv[1]).items():
    pinned = getattr(nltk_files, name)
    setattr(nltk_files, name, pinned._replace(file=DataFile(*path)))
check = ifbench.BENCHMARK.checker()
for document in json.loads(sys.argv[2]):
    print(json.dumps(check(document, "Pears")))
"""


def test_nothing_is_downloaded_at_import_or_while_scoring_whatever_the_umask(small: Path) -> None:
    """nltk refuses files that a group may write: those of a umask of 002 would be downloaded again."""
    names = ("PUNKT", "TAGGER", "STOPWORDS")
    files = {name: tuple(getattr(nltk_files, name).file)[:3] for name in names}
    python = [sys.executable, "-W", "error::RuntimeWarning", "-c", OFFLINE]
    environment = os.environ | {"EXPO_CACHE": str(small / "cache"), "NLTK_DATA": ""}
    run = subprocess.run(
        [*python, json.dumps(files), json.dumps(IFBENCH)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=environment,
    )
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert found == [[[False]] * 2, [[False, True]] * 2, [[False]] * 2, [[True]] * 2], run
