"""GSM8K: 1,319 word problems, asked in a chat without examples, by lm-eval's exact match.

Prompt and match are those of its task `gsm8k_cot_llama`. This is not the 5-shot figure of the old
tables (`gsm8k`, a completion of five solved examples): the two are not to be compared.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.benchmarks.data import DataFile, fetch
from tasks.benchmarks.figures import Measure, Score
from tasks.benchmarks.lm_eval_tasks import VERSION, exact_match, require_lm_eval
from tasks.benchmarks.verified import Check, Item, VerifiedBenchmark, binary_error
from tasks.core.text_files import read_json_lines
from tasks.generation.settings import Sampling
from tasks.stats.metrics import ArmMetrics
from tasks.stores.disk import whole_file

__all__ = ["BENCHMARK", "PROBLEMS", "PROMPT", "TASK", "GSM8KScore"]

PROBLEMS = DataFile(
    "gsm8k/test.jsonl",
    "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c"
    "/grade_school_math/data/test.jsonl",
)
TASK = "gsm8k/gsm8k-cot-llama.yaml"
PROMPT = (
    "Given the following problem, reason and give a final answer to the problem.\nProblem: {question}\n"
    'Your response should end with "The final answer is [answer]" where [answer] is the response to the '
    "problem.\n"
)
# greedy, as the task's; the package's limit of 256 tokens cuts a chat model's reasoning
SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, presence_penalty=0, frequency_penalty=0, max_tokens=1024)

CITATION = """@article{cobbe2021training,
  title = {Training Verifiers to Solve Math Word Problems},
  author = {Cobbe, Karl and Kosaraju, Vineet and Bavarian, Mohammad and Chen, Mark and Jun, Heewoo
    and Kaiser, Lukasz and Plappert, Matthias and Tworek, Jerry and Hilton, Jacob and Nakano, Reiichiro
    and Hesse, Christopher and Schulman, John},
  journal = {arXiv preprint arXiv:2110.14168},
  year = {2021}
}"""


class GSM8KScore(Score):
    """Shares of right answers in %.

    accuracy  by the last number of an answer (the task's `flexible-extract`)
    strict    by the number behind "The final answer is" (`strict-match`): keeping to the form counts too
    """

    model: str
    accuracy: float
    strict: float
    standard_error: float
    n_total: int

    def metrics(self) -> ArmMetrics:
        """As a report shows them: the accuracy in %."""
        return ArmMetrics(score=self.accuracy, standard_error=self.standard_error, mean_length=0)


class _GSM8K(VerifiedBenchmark):
    name = "gsm8k"
    citation = CITATION
    measure = Measure(
        title="GSM8K (chat, no examples)",
        score="accuracy",
        axis="accuracy, %",
        metric="exact_match",
        dataset="openai/gsm8k",
    )
    data_files = (PROBLEMS,)
    judgments = "gsm8k.jsonl"
    rule = f"lm-eval {VERSION}: gsm8k_cot_llama without examples, flexible-extract"

    def questions(self) -> Path:
        rows = [row for _, row in read_json_lines(fetch(PROBLEMS))]
        path = PROBLEMS.path.with_name("gsm8k-questions.json")
        items = [
            {
                "instruction": PROMPT.format(question=row["question"]),
                "item": number,
                "reference": row["answer"],
                "question": row["question"],
            }
            for number, row in enumerate(rows, start=1)
        ]
        with whole_file(path) as part:
            part.write_text(json.dumps(items))
        return path

    def sampling(self, max_tokens: int) -> Sampling:
        return SAMPLING

    def require(self) -> None:
        require_lm_eval()

    def check(self, answered: Sequence[tuple[Item, str]]) -> Iterator[Check]:
        documents = [{"question": item["question"], "answer": item["reference"]} for item, _ in answered]
        for found in exact_match(TASK, documents, [answer for _, answer in answered]):
            yield Check(found["flexible-extract"], {"strict": found["strict-match"]})

    def figures(self, rows: Sequence[dict[str, Any]]) -> GSM8KScore:
        return GSM8KScore(
            judge=rows[0]["rule"],
            model=str(rows[0]["model"]),
            accuracy=sum(row["score"] for row in rows) / len(rows),
            strict=100 * sum(row["details"]["strict"] for row in rows) / len(rows),
            standard_error=binary_error(rows),
            n_total=len(rows),
        )

    def has_details(self, details: dict[str, Any]) -> bool:
        return isinstance(details.get("strict"), bool)

    def words(self, row: dict[str, Any]) -> str:
        return "right" if row["score"] else "wrong: its last number is another"


BENCHMARK = _GSM8K()
