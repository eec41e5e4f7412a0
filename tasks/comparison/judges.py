"""Who judges a family's answers to each benchmark: the benchmark's rule, the family's judge, or the run's."""

from collections.abc import Sequence

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import find_benchmark
from tasks.core.errors import InputError
from tasks.core.families import Family

__all__ = ["find_judges"]


def find_judges(family: Family, judge: Judge | None, benchmarks: Sequence[str]) -> dict[str, Judge]:
    """The judge of each benchmark, by the benchmark's name.

    Raises:
        InputError: the family brings none and the run names none, or its own does not know a benchmark.
        PermanentError: what scores a benchmark's answers is not installed.
    """
    return {name: _find(family, judge, name) for name in benchmarks}


def _find(family: Family, judge: Judge | None, name: str) -> Judge:
    benchmark = find_benchmark(name)
    benchmark.require()
    if rule := benchmark.own_judge():
        return rule
    if family.judge:
        if benchmark.judging != "pairwise" or benchmark.form != "instructions":
            raise InputError(
                f"{family.name}: its judge is a rule that compares AlpacaEval's way and rates nothing; leave "
                f"{name} out"
            )
        # no address until it is served
        return Judge(model=family.judge.replace(":", "-"), base_url=family.judge)
    if judge is None:
        raise InputError(
            f"{family.name}: no judge; give one (its model, and base_url for an endpoint of your own), "
            "or no benchmarks to extrapolate only"
        )
    return judge
