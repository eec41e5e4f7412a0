"""MT-Bench: 80 questions of two turns, each answer rated from 1 to 10 by the judge."""

from collections.abc import Callable, Collection, Hashable
from pathlib import Path
from typing import Any, NamedTuple

from tasks.benchmarks.budget import Usage
from tasks.benchmarks.figures import MIN_JUDGED, Counts, Judged, Measure
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.mt_bench_data import (
    PROMPTS,
    QUESTIONS,
    REFERENCES,
    MTBenchFiles,
    cached_files,
    mt_bench_files,
)
from tasks.benchmarks.mt_bench_judge import (
    JUDGMENTS,
    TEMPERATURES,
    UNPARSED,
    expected_usage,
    judge_turns,
    read_turns,
)
from tasks.benchmarks.mt_bench_score import (
    MTBenchScore,
    model_of,
    ratings,
    score_judgments,
    why_not_rated,
)
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.rows import Dialogue, DialogueTurn, Rows
from tasks.core.errors import InputError
from tasks.core.families import Published
from tasks.core.text_files import read_json_lines
from tasks.generation.settings import Sampling
from tasks.stats.metrics import PublishedFigures

__all__ = ["BENCHMARK", "dialogues"]

PUBLISHED_JUDGE = "gpt-4"
# FastChat's llm_judge (gen_model_answer.py): nothing but a temperature, which is 0.7 for unknown categories
SAMPLING = Sampling(
    temperature=0.7, top_p=1, top_k=0, presence_penalty=0, frequency_penalty=0, max_tokens=1024
)

CITATION = """@inproceedings{zheng2023judging,
  title = {Judging {LLM}-as-a-Judge with {MT-Bench} and {Chatbot Arena}},
  author = {Zheng, Lianmin and Chiang, Wei-Lin and Sheng, Ying and Zhuang, Siyuan and Wu, Zhanghao
    and Zhuang, Yonghao and Lin, Zi and Li, Zhuohan and Li, Dacheng and Xing, Eric P. and Zhang, Hao
    and Gonzalez, Joseph E. and Stoica, Ion},
  booktitle = {Advances in Neural Information Processing Systems 36, Datasets and Benchmarks Track},
  year = {2023},
  note = {arXiv:2306.05685}
}"""


class _MTBench(Benchmark):
    name = "mt_bench"
    citation = CITATION
    measure = Measure(
        title="MT-Bench",
        score="rating",
        axis="mean rating",
        unit="rating points",
        digits=2,
        metric="rating",
        dataset="mt_bench",
    )
    judging = "graded"
    form = "dialogues"
    data_files = (QUESTIONS, PROMPTS, REFERENCES)
    judgments = JUDGMENTS

    def questions(self) -> Path:
        return mt_bench_files().questions

    def sampling(self, max_tokens: int) -> Sampling:
        """FastChat's, with its own limit of a turn's tokens, whatever the family's."""
        return SAMPLING

    def temperatures(self) -> dict[str, float]:
        return TEMPERATURES

    def judge_identity(self, judge: Judge) -> dict[str, Any]:
        prompts = [PROMPTS.sha256, REFERENCES.sha256]
        return {"prompts": prompts, "sampling": judge.grading_sampling.arguments()}

    def judge_sampling(self, judge: Judge) -> str:
        return judge.grading_sampling.model_dump_json(exclude_none=True)

    def expected_usage(self, judge: Judge, questions: Path | None = None) -> Usage | None:
        files = mt_bench_files() if questions else cached_files()
        return expected_usage(files, judge) if files else None

    def require_answers(self, answers: Path, reference: Path) -> None:
        asked = {row["question_id"] for _, row in read_json_lines(reference)}
        turns = read_turns(answers)
        if others := sorted(turns.keys() - asked):
            raise InputError(f"{answers}: question {others[0]} is none of {reference}'s")
        if missing := sorted(asked - turns.keys()):
            raise InputError(
                f"{answers}: no answer to question {missing[0]} of {reference}: answer all of them"
            )

    def judge(
        self,
        answers: Path,
        reference: Path,
        judge: Judge,
        folder: Path,
        *,
        advance: Callable[[int], None],
        again: bool = False,
    ) -> Path:
        return judge_turns(answers, mt_bench_files(), judge, folder, advance=advance, again=again)

    def count(self, judgments: Path) -> Counts:
        rows = [row for _, row in read_json_lines(judgments)]
        scores = [row["score"] for row in rows]
        return Counts(len(rows), scores.count(None), scores.count(UNPARSED), why_not_rated(rows))

    def score(
        self,
        judgments: Path,
        *,
        items: Collection[Hashable] | None = None,
        min_judged: float = MIN_JUDGED,
        extra: Path | None = None,
    ) -> MTBenchScore:
        return score_judgments(judgments, items=items, min_judged=min_judged)

    def item_scores(self, judgments: Path) -> dict[tuple[int, int], float | None]:
        return ratings(judgments)

    def cluster(self, item: Any) -> Hashable:  # noqa: ANN401 - (question, turn)
        """The question: its second turn depends on the first."""
        question: int = item[0]
        return question

    def published(self, published: Published) -> PublishedFigures:
        return PublishedFigures(judge=PUBLISHED_JUDGE, score=published.mt_bench)

    def rows(self, original: Judged, expo: Judged) -> Rows:
        return Rows(dialogues=dialogues(mt_bench_files(), original, expo))

    def recognizes(self, judgments: Path) -> bool:
        """JSON lines with the id of a question; of what cannot be read, its reader says why."""
        if judgments.suffix != ".jsonl":
            return False
        try:
            return "question_id" in read_json_lines(judgments)[0][1]
        except InputError:
            return True

    def model_of(self, judgments: Path) -> str:
        return model_of(judgments)


BENCHMARK = _MTBench()


class _Judgment(NamedTuple):
    rating: float | None
    words: str


def dialogues(files: MTBenchFiles, original: Judged, expo: Judged) -> tuple[Dialogue, ...]:
    """Every question that both arms answered, in the benchmark's order.

    Raises:
        InputError: a file cannot be read, or is not of FastChat's form.
    """
    answers = [read_turns(arm.answers) for arm in (original, expo)]
    judged = [_judgments(arm.judgments) for arm in (original, expo)]
    references = read_turns(files.references)
    found = []
    for _, question in read_json_lines(files.questions):
        number = int(question["question_id"])
        if number not in answers[0] or number not in answers[1]:
            continue
        turns = []
        for turn, asked in enumerate(question["turns"], start=1):
            before, after = (of_arm.get((number, turn), _Judgment(None, "")) for of_arm in judged)
            turns.append(
                DialogueTurn(
                    question=asked,
                    original=answers[0][number][turn - 1],
                    expo=answers[1][number][turn - 1],
                    reference=references[number][turn - 1] if number in references else "",
                    original_rating=before.rating,
                    expo_rating=after.rating,
                    original_judgment=before.words,
                    expo_judgment=after.words,
                )
            )
        found.append(Dialogue(question_id=number, category=question["category"], turns=tuple(turns)))
    return tuple(found)


def _judgments(path: Path) -> dict[tuple[int, int], _Judgment]:
    """By question and turn; a judgment without a rating keeps its words."""
    found = {}
    for _, row in read_json_lines(path):
        rating = None if row["score"] in (None, UNPARSED) else float(row["score"])
        found[int(row["question_id"]), int(row["turn"])] = _Judgment(rating, row["judgment"] or "")
    return found
