"""Arena-Hard v2's files, pinned in lmarena/arena-hard-auto (Apache-2.0)."""

from tasks.benchmarks.data import DataFile
from tasks.benchmarks.pairwise_prompts import CREATIVE

__all__ = ["BASELINES", "CREATIVE_ANSWERS", "HARD", "HARD_ANSWERS", "QUESTIONS"]

REVISION = "196f6b826783b3da7310e361a805fa36f0be83f3"
DATA = f"https://raw.githubusercontent.com/lmarena/arena-hard-auto/{REVISION}/data/arena-hard-v2.0"
HARD = "hard_prompt"

QUESTIONS = DataFile(
    "arena-hard-v2.0/question.jsonl",
    "a75cef6623db6b27aec810497b059f0659705d7ff48dcbccc5bd5b130728ac73",
    f"{DATA}/question.jsonl",
)
HARD_ANSWERS = DataFile(
    "arena-hard-v2.0/o3-mini-2025-01-31.jsonl",
    "c23a7c255eead99f7f86ad48aa1d8ccdb5b3334f2097e0e1e09184df87265e03",
    f"{DATA}/model_answer/o3-mini-2025-01-31.jsonl",
)
# its sha256 is not known here; the repository's tree names the git object, a digest of the content as well
CREATIVE_ANSWERS = DataFile(
    "arena-hard-v2.0/gemini-2.0-flash-001.jsonl",
    "",
    f"{DATA}/model_answer/gemini-2.0-flash-001.jsonl",
    git_blob="75513a4feb8e2f642a9bdb952d1c3ed245b9c952",
)
# whose answers a category's are judged against
BASELINES = {HARD: HARD_ANSWERS, CREATIVE: CREATIVE_ANSWERS}
