"""IFEval: 541 prompts with 834 instructions that a program can check, by the checkers of lm-eval.

An item counts where the answer follows all instructions of its prompt, read strictly; the figures by
instruction and by a loose reading (markdown and first or last lines taken off) stand beside it.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.benchmarks.data import DataFile, fetch
from tasks.benchmarks.lm_eval_tasks import (
    PUNKT,
    VERSION,
    fetch_tokenizer,
    instruction_checker,
    require_lm_eval,
)
from tasks.benchmarks.protocol import Measure, Score
from tasks.benchmarks.verified import Check, Item, VerifiedBenchmark, binary_error
from tasks.core.errors import CorruptError
from tasks.core.text_files import read_json_lines
from tasks.generation.settings import Sampling
from tasks.stats.metrics import ArmMetrics
from tasks.stores.disk import whole_file

__all__ = ["BENCHMARK", "PROMPTS", "IFEvalScore"]

PROMPTS = DataFile(
    "ifeval_input_data.jsonl",
    "6a85310ca8ce15eff755aa08a3a4ff931c7e273e7515ebb3c492ea85fd8288f2",
    repository="google/IFEval",
    revision="966cd89545d6b6acfd7638bc708b98261ca58e84",
)
# the task's: greedy, at most 1280 tokens
SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, presence_penalty=0, frequency_penalty=0, max_tokens=1280)

CITATION = """@article{zhou2023instruction,
  title = {Instruction-Following Evaluation for Large Language Models},
  author = {Zhou, Jeffrey and Lu, Tianjian and Mishra, Swaroop and Brahma, Siddhartha and Basu, Sujoy
    and Luan, Yi and Zhou, Denny and Hou, Le},
  journal = {arXiv preprint arXiv:2311.07911},
  year = {2023}
}"""


class IFEvalScore(Score):
    """Shares in %: of prompts whose instructions are all followed, and of instructions; strict and loose.

    kinds  instructions followed, strictly, by their kind ("keywords", "length_constraints", …)
    """

    model: str
    prompt_strict: float
    prompt_loose: float
    instruction_strict: float
    instruction_loose: float
    standard_error: float
    kinds: dict[str, float]
    n_total: int

    def metrics(self) -> ArmMetrics:
        """As a report shows them: the prompt-level strict accuracy in %, and that of each kind."""
        return ArmMetrics(
            score=self.prompt_strict, standard_error=self.standard_error, mean_length=0, kinds=self.kinds
        )


class _IFEval(VerifiedBenchmark):
    name = "ifeval"
    citation = CITATION
    measure = Measure(
        title="IFEval",
        score="prompt-level strict accuracy",
        axis="prompts followed, %",
        metric="prompt_level_strict_acc",
        dataset="google/IFEval",
    )
    data_files = (PROMPTS, PUNKT)
    judgments = "ifeval.jsonl"
    rule = f"lm-eval {VERSION}: ifeval"

    def questions(self) -> Path:
        data = fetch(PROMPTS)
        path = PROMPTS.path.with_name("ifeval-questions.json")
        with whole_file(path) as part:
            part.write_text(json.dumps([_item(data, row) for _, row in read_json_lines(data)]))
        return path

    def fetch_judging_data(self) -> None:
        fetch_tokenizer()

    def sampling(self, max_tokens: int) -> Sampling:
        return SAMPLING

    def require(self) -> None:
        require_lm_eval()

    def check(self, answered: Sequence[tuple[Item, str]]) -> Iterator[Check]:
        follows = instruction_checker()
        for item, answer in answered:
            document = {
                "key": item["item"],
                "prompt": item["instruction"],
                "instruction_id_list": item["instruction_id_list"],
                "kwargs": item["kwargs"],
            }
            strict, loose = follows(document, answer)
            details = {"instructions": item["instruction_id_list"], "strict": strict, "loose": loose}
            yield Check(all(strict), details)

    def figures(self, rows: Sequence[dict[str, Any]]) -> IFEvalScore:
        found = [row["details"] for row in rows]
        by_kind: dict[str, list[bool]] = defaultdict(list)
        for details in found:
            for name, followed in zip(details["instructions"], details["strict"], strict=True):
                by_kind[name.partition(":")[0]].append(followed)
        return IFEvalScore(
            judge=rows[0]["rule"],
            model=str(rows[0]["model"]),
            prompt_strict=_share([all(details["strict"]) for details in found]),
            prompt_loose=_share([all(details["loose"]) for details in found]),
            instruction_strict=_share([followed for details in found for followed in details["strict"]]),
            instruction_loose=_share([followed for details in found for followed in details["loose"]]),
            standard_error=binary_error(rows),
            kinds={kind: _share(by_kind[kind]) for kind in sorted(by_kind)},
            n_total=len(rows),
        )

    def has_details(self, details: dict[str, Any]) -> bool:
        lists = [details.get(name) for name in ("instructions", "strict", "loose")]
        kinds = (str, bool, bool)
        return (
            all(
                isinstance(found, list) and found and all(isinstance(entry, kind) for entry in found)
                for found, kind in zip(lists, kinds, strict=True)
            )
            and len({len(found or ()) for found in lists}) == 1
        )

    def words(self, row: dict[str, Any]) -> str:
        details = row["details"]
        followed = zip(details["instructions"], details["strict"], strict=True)
        missed = [name for name, right in followed if not right]
        return f"not followed: {', '.join(missed)}" if missed else "all instructions followed"


def _item(data: Path, row: dict[str, Any]) -> Item:
    try:
        return {
            "instruction": row["prompt"],
            "item": row["key"],
            "instruction_id_list": row["instruction_id_list"],
            "kwargs": row["kwargs"],
        }
    except KeyError as error:
        raise CorruptError(f"{data}: a row without {error}; remove it, and say `expo data fetch`") from error


def _share(followed: Sequence[bool]) -> float:
    return 100 * sum(followed) / len(followed)


BENCHMARK = _IFEval()
