"""IFBench: 300 prompts with 344 instructions that no training set has, by the checkers of if-verifiable.

An item counts where the answer follows all instructions of its prompt, read loosely, as the authors
report it; the figures by instruction and by a strict reading stand beside it.
"""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from tasks.benchmarks import nltk_files
from tasks.benchmarks.data import DataFile, fetch
from tasks.benchmarks.figures import Measure
from tasks.benchmarks.instruction_following import Checker, InstructionBenchmark, write_questions
from tasks.benchmarks.scorers import require_scorer
from tasks.core.errors import CorruptError
from tasks.generation.settings import Sampling

__all__ = ["BENCHMARK", "PROMPTS", "VERSION"]

VERSION = "0.1.2"  # of if-verifiable
PROMPTS = DataFile(
    "IFBench_test.jsonl",
    "a2bf7b8e7ed11d39c65b4ec781da8b99663ed0121f97033d70fcecb61f8a9d85",
    "https://raw.githubusercontent.com/allenai/IFBench/db69a6f05689830b0068b8f1529ebcfd2f3b164c"
    "/data/IFBench_test.jsonl",
)
# greedy, as the authors'; their limit of an answer that does not think first
SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, presence_penalty=0, frequency_penalty=0, max_tokens=4096)

CITATION = """@article{pyatkin2025generalizing,
  title = {Generalizing Verifiable Instruction Following},
  author = {Pyatkin, Valentina and Malik, Saumya and Graf, Victoria and Ivison, Hamish
    and Huang, Shengyi and Dasigi, Pradeep and Lambert, Nathan and Hajishirzi, Hannaneh},
  journal = {arXiv preprint arXiv:2507.02833},
  year = {2025}
}"""


class _IFBench(InstructionBenchmark):
    name = "ifbench"
    citation = CITATION
    measure = Measure(
        title="IFBench",
        score="prompt-level loose accuracy",
        axis="prompts followed, %",
        metric="prompt_level_loose_acc",
        dataset="allenai/IFBench_test",
    )
    reading = "loose"
    data_files = (PROMPTS, nltk_files.PUNKT.file, nltk_files.TAGGER.file, nltk_files.STOPWORDS.file)
    judgments = "ifbench.jsonl"
    rule = f"if-verifiable {VERSION}: ifbench"

    def questions(self) -> Path:
        return write_questions(PROMPTS, "ifbench-questions.json")

    def fetch_judging_data(self) -> None:
        for archive in _archives():
            fetch(archive.file)

    def sampling(self, max_tokens: int) -> Sampling:
        return SAMPLING

    def require(self) -> None:
        require_scorer("if-verifiable", VERSION, "IFBench is")

    def checker(self) -> Checker:
        self.require()
        _offer_archives()
        from if_verifiable.common import evaluate_instructions
        from if_verifiable.ifbench import instructions
        from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT

        def check(document: Mapping[str, Any], answer: str) -> tuple[list[bool], list[bool]]:
            names = document["instruction_id_list"]
            if unknown := next((name for name in names if name not in INSTRUCTION_DICT), None):
                raise CorruptError(f"IFBench: if-verifiable {VERSION} has no checker of {unknown!r}")
            # a span that begins at word 0 is drawn: the same one whenever it is asked
            instructions.random = Random(0)
            found, _ = evaluate_instructions(
                answer, names, document["kwargs"], document["prompt"], INSTRUCTION_DICT
            )
            if not found:  # of an answer without a word the package says nothing
                return [False] * len(names), [False] * len(names)
            return [result.strict_pass for result in found], [result.loose_pass for result in found]

        return check


def _archives() -> tuple[nltk_files.NltkFile, ...]:
    return nltk_files.PUNKT, nltk_files.TAGGER, nltk_files.STOPWORDS


def _offer_archives() -> None:
    nltk_files.offer_to_nltk(*_archives())
    # The package looks for the older form of the tokenizer too, and downloads it where there is no such
    # folder; nothing reads it.
    older = nltk_files.PUNKT.file.path.parent / "nltk_data" / "tokenizers" / "punkt"
    older.mkdir(mode=0o755, exist_ok=True)


BENCHMARK = _IFBench()
