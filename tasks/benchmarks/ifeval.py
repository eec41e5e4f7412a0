"""IFEval: 541 prompts with 834 instructions that a program can check, by the checkers of lm-eval.

An item counts where the answer follows all instructions of its prompt, read strictly; the figures by
instruction and by a loose reading stand beside it.
"""

from pathlib import Path

from tasks.benchmarks import nltk_files
from tasks.benchmarks.data import DataFile, fetch
from tasks.benchmarks.figures import Measure
from tasks.benchmarks.instruction_following import Checker, InstructionBenchmark, write_questions
from tasks.benchmarks.lm_eval_tasks import VERSION, instruction_checker, require_lm_eval
from tasks.generation.settings import Sampling

__all__ = ["BENCHMARK", "PROMPTS"]

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


class _IFEval(InstructionBenchmark):
    name = "ifeval"
    citation = CITATION
    measure = Measure(
        title="IFEval",
        score="prompt-level strict accuracy",
        axis="prompts followed, %",
        metric="prompt_level_strict_acc",
        dataset="google/IFEval",
    )
    data_files = (PROMPTS, nltk_files.PUNKT.file)
    judgments = "ifeval.jsonl"
    rule = f"lm-eval {VERSION}: ifeval"

    def questions(self) -> Path:
        return write_questions(PROMPTS, "ifeval-questions.json")

    def fetch_judging_data(self) -> None:
        fetch(nltk_files.PUNKT.file)

    def sampling(self, max_tokens: int) -> Sampling:
        return SAMPLING

    def require(self) -> None:
        require_lm_eval()

    def checker(self) -> Checker:
        return instruction_checker()


BENCHMARK = _IFEval()
