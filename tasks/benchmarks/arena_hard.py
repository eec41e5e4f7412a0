"""Arena-Hard v2: 500 hard prompts and 250 of creative writing, against a baseline, in both orders.

The rules are those of lmarena/arena-hard-auto at 196f6b82 (arXiv 2406.11939): the judge's prompts, both
games, the patterns, verdicts of "significantly better" counted three times, the baseline by category. What
differs:

- the answers are drawn with the family's sampling, as for AlpacaEval (the project leaves it to each model);
- a verdict pairs the two arms by prompt, each prompt counting once; by category the published mean over
  battles stands beside it, with a 95% interval (published: 90%);
- style control is fitted to one model against the baseline, where the project fits a whole leaderboard, and
  lengths are of characters: see `tasks.benchmarks.style_control`.
"""

from collections.abc import Mapping
from pathlib import Path

from tasks.benchmarks.arena_hard_data import BASELINES, CREATIVE_ANSWERS, HARD_ANSWERS, QUESTIONS
from tasks.benchmarks.budget import Usage
from tasks.benchmarks.data import cached, fetch
from tasks.benchmarks.figures import Measure
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.pairwise_benchmark import PairwiseBenchmark, answers_by_uid
from tasks.benchmarks.pairwise_files import Prompt, answers_of, read_prompts, text_of_answer, writer_of
from tasks.benchmarks.pairwise_judge import Matchup, expected_usage
from tasks.core.errors import InputError
from tasks.core.text_files import read_json_lines

__all__ = ["BENCHMARK"]

ANSWER = 3000  # characters, as the baselines' in the mean

CITATION = """@article{li2024crowdsourced,
  title = {From Crowdsourced Data to High-Quality Benchmarks: {Arena-Hard} and {BenchBuilder} Pipeline},
  author = {Li, Tianle and Chiang, Wei-Lin and Frick, Evan and Dunlap, Lisa and Wu, Tianhao and Zhu, Banghua
    and Gonzalez, Joseph E. and Stoica, Ion},
  journal = {arXiv preprint arXiv:2406.11939},
  year = {2024}
}"""


class _ArenaHard(PairwiseBenchmark):
    name = "arena_hard"
    citation = CITATION
    measure = Measure(
        title="Arena-Hard v2",
        score="score",
        axis="score against the baseline, %",
        metric="win_rate",
        dataset="arena-hard-v2.0",
        length_controlled=True,
        control="style",
    )
    data_files = (QUESTIONS, HARD_ANSWERS, CREATIVE_ANSWERS)

    def questions(self) -> Path:
        return fetch(QUESTIONS)

    def fetch_judging_data(self) -> None:
        questions = self.questions()
        for category in _by_category(read_prompts(questions), questions):
            fetch(BASELINES[category])

    def expected_usage(self, judge: Judge, questions: Path | None = None) -> Usage | None:
        questions = questions or cached(QUESTIONS)
        if questions is None:
            return None
        return expected_usage([(prompt, "x" * ANSWER) for prompt in read_prompts(questions)], judge)

    def matchups(self, answers: Path, reference: Path) -> list[Matchup]:
        """Against each category's baseline; `reference` holds the prompts."""
        prompts = read_prompts(reference)
        found, matchups = answers_of(answers, prompts), []
        model = writer_of(found)
        for category, of_category in _by_category(prompts, reference).items():
            baseline = _baseline(category, of_category)
            name = writer_of(baseline)
            matchups += [
                Matchup(
                    prompt,
                    text_of_answer(found[prompt.uid]) or "",
                    text_of_answer(baseline[prompt.uid]) or "",
                    model,
                    name,
                )
                for prompt in of_category
            ]
        return matchups

    def references(self, answers: Mapping[str, str]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        categories = {prompt.uid: prompt.category for prompt in read_prompts(self.questions())}
        for category, file in BASELINES.items():
            if any(categories.get(uid) == category for uid in answers):
                of_baseline = answers_by_uid(fetch(file))
                found |= {uid: text for uid, text in of_baseline.items() if categories.get(uid) == category}
        return found


def _by_category(prompts: tuple[Prompt, ...], path: Path) -> dict[str, tuple[Prompt, ...]]:
    if unknown := {prompt.category for prompt in prompts} - BASELINES.keys():
        raise InputError(
            f"{path}: category {min(unknown)!r} has no baseline; Arena-Hard v2 has {', '.join(BASELINES)}"
        )
    names = dict.fromkeys(prompt.category for prompt in prompts)
    return {name: tuple(prompt for prompt in prompts if prompt.category == name) for name in names}


def _baseline(category: str, prompts: tuple[Prompt, ...]) -> dict[str, dict[str, object]]:
    """The baseline's answers to these prompts, of all that it has."""
    path, wanted = fetch(BASELINES[category]), {prompt.uid for prompt in prompts}
    found = {row["uid"]: row for _, row in read_json_lines(path) if row.get("uid") in wanted}
    if missing := wanted - found.keys():
        raise InputError(f"{path}: the baseline has no answer to prompt {min(missing)!r}")
    return found


BENCHMARK = _ArenaHard()
