"""What a run asks of a family, what of it is judged, and what that will take."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from flows.parameters import FamilyName
from flows.search import estimate_family_search
from tasks.benchmarks.anchor_sample import SAMPLE
from tasks.benchmarks.budget import Usage, describe_usage
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import find_benchmark
from tasks.comparison.guards import guards_of_run
from tasks.comparison.instructions import Instructions, asked_benchmarks, instructions_of
from tasks.comparison.judge_session import expected_usage
from tasks.comparison.judges import find_judges
from tasks.comparison.run_config import RunConfig
from tasks.core.errors import InputError
from tasks.core.families import Family, find_family
from tasks.instructions import instructions

__all__ = ["Questions", "estimate_run", "find_questions", "held_out_uri", "searched_beside"]


class Questions(NamedTuple):
    """What both arms of a family are asked.

    asked     of the benchmarks; guarding: of the guards
    held_out  of the α curve; None where there is none
    """

    asked: tuple[Instructions, ...]
    guarding: tuple[Instructions, ...]
    held_out: Instructions | None

    def judgings(self, config: RunConfig, points: int) -> list[Instructions]:
        """What is judged, once for each generation; an arm against itself costs nothing.

        points  values of α on the curve
        """
        seeds = {name: len(config.generation.seeds_of(name)) for name in config.arms}
        judgings: list[Instructions] = []
        for questions in self.asked:
            free = config.generation.seeds if find_benchmark(questions.benchmark).against_original else 0
            judgings += [questions] * (sum(seeds.values()) - free)
        return [*judgings, *self.guarding, *([self.held_out] * points if self.held_out else [])]


def find_questions(family: Family, config: RunConfig) -> Questions:
    """Finds what a run asks of a family; raises as the stage `instructions` and as `held_out_uri`."""
    benchmarks = asked_benchmarks(config.benchmarks, config.prompts)
    held_out = held_out_uri(family, config)
    # guards first: what their samples cannot have is refused before a benchmark is downloaded
    guarding = tuple(instructions(guard.uri) for guard in guards_of_run(config.guards, benchmarks))
    return Questions(
        asked=tuple(instructions(instructions_of(family, benchmark)) for benchmark in benchmarks),
        guarding=guarding,
        held_out=instructions(held_out) if held_out else None,
    )


def held_out_uri(family: Family, config: RunConfig) -> str | None:
    """What the α curve of a run asks of a family, None without a curve.

    Raises:
        InputError: the registry has nothing for it.
    """
    if not (config.curve and asked_benchmarks(config.benchmarks, config.prompts)):
        return None
    if family.alpha_instructions is None:
        raise InputError(
            f"{family.name}: an α curve needs held-out instructions, and the registry has none for it; "
            "leave `curve` out (the benchmark's own instructions may not choose α)"
        )
    return family.alpha_instructions


def searched_beside(family: Family, config: RunConfig) -> tuple[str, ...]:
    """The uris of what a run asks beside its search, which refuses their prompts."""
    benchmarks = asked_benchmarks(config.benchmarks, config.prompts)
    judged = (instructions_of(family, name) for name in benchmarks)
    return (*judged, *(guard.name for guard in guards_of_run(config.guards, benchmarks)))


def estimate_run(families: Sequence[FamilyName], config: RunConfig, *, anchors: bool = False) -> str:
    """What judges will be asked at most, in words, by all families together; "" where none is asked.

    config   with the run's judge, not a family's share of it
    anchors  whether the judge is measured against stored annotations besides

    Raises:
        InputError, PermanentError, RetryableError: what is asked cannot be found on this machine.
    """
    usage_of = cache(expected_usage)
    usages: dict[Judge, Usage] = {}
    searches: list[str] = []
    for family in map(find_family, families):
        judgings = find_questions(family, config).judgings(config, 1 + len(config.curve))
        judges = find_judges(family, config.judge, [asked.benchmark for asked in judgings])
        for asked in judgings:
            judge = judges[asked.benchmark]
            if not judge.is_rule:
                usages[judge] = usages.get(judge, Usage()) + usage_of(asked, judge)
        if config.alpha == "search":
            beside = searched_beside(family, config)
            searches += estimate_family_search(family, config.search, config.judge, beside)
    said = [
        f"{judge.model} will judge at most: {describe_usage(judge, usage)}" for judge, usage in usages.items()
    ]
    if anchors and config.judge:
        said.append(f"{config.judge.model} will judge at most {SAMPLE} stored pairs again")
    return "; ".join((*said, *searches))
