"""Two judges on the same answers: how often they prefer the same one, from two files of judgments."""

from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks.protocol import Benchmark
from tasks.comparison.compare import benchmark_of_judgments
from tasks.core.errors import InputError
from tasks.stats.agreement import Agreement, Choices, agree, choice_table

__all__ = ["JudgeAgreement", "compare_judges"]


class JudgeAgreement(NamedTuple):
    """The agreement of the second file's judge with the first's.

    choices  rows: the first judge's choice, columns: the second's; the reference, neither, the answer
    model    whose answers both judged
    """

    model: str
    agreement: Agreement
    choices: Choices


def compare_judges(first: Path, second: Path) -> JudgeAgreement:
    """Compares two files of judgments of the same answers by two judges.

    Raises:
        InputError: the files are of two benchmarks, of answers of two models, of other answers or
            references, or of answers that are rated one by one; or fewer than two pairs are in both.
    """
    benchmark = benchmark_of_judgments(first, second)
    if benchmark.judging != "pairwise":
        raise InputError(
            f"{first}: {benchmark.measure.title} rates each answer by itself; judges are compared on pairs"
        )
    benchmark.require_comparable(first, second)
    models = benchmark.model_of(first), benchmark.model_of(second)
    if models[0] != models[1] or benchmark.judged_texts(first) != benchmark.judged_texts(second):
        raise InputError(
            f"{first}, {second}: not the same answers ({models[0]}, {models[1]}); give two judges' files of "
            "one file of answers"
        )
    scores = [benchmark.item_scores(path) for path in (first, second)]
    both = [
        item for item, score in scores[0].items() if score is not None and scores[1].get(item) is not None
    ]
    names = [_judge(benchmark, path) for path in (first, second)]
    shares = [[(of_file[item] or 0) / 100 for item in both] for of_file in scores]
    agreement = agree(*names, *shares, n_failed=len(scores[0].keys() | scores[1].keys()) - len(both))
    return JudgeAgreement(models[0], agreement, choice_table(*shares))


def _judge(benchmark: Benchmark, path: Path) -> str:
    return benchmark.score(path, min_judged=0.01).judge
