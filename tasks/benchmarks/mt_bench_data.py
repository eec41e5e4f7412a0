"""MT-Bench's files, pinned in FastChat's repository (Apache-2.0)."""

from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks.data import DataFile, cached, fetch

__all__ = ["PROMPTS", "QUESTIONS", "REFERENCES", "MTBenchFiles", "cached_files", "mt_bench_files"]

FASTCHAT = "https://raw.githubusercontent.com/lm-sys/FastChat/587d5cfa1609a43d192cedb8441cac3c17db105d"
FASTCHAT_DATA = f"{FASTCHAT}/fastchat/llm_judge/data"


class MTBenchFiles(NamedTuple):
    """FastChat's question.jsonl, judge_prompts.jsonl and reference_answer/gpt-4.jsonl."""

    questions: Path
    prompts: Path
    references: Path


def _of_fastchat(name: str, sha256: str) -> DataFile:
    return DataFile(name, sha256, f"{FASTCHAT_DATA}/{name}")


QUESTIONS = _of_fastchat(
    "mt_bench/question.jsonl", "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7"
)
PROMPTS = _of_fastchat(
    "judge_prompts.jsonl", "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6"
)
REFERENCES = _of_fastchat(
    "mt_bench/reference_answer/gpt-4.jsonl",
    "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
)


def mt_bench_files() -> MTBenchFiles:
    """The three files on this machine's disk, downloaded if need be; raises as `fetch`."""
    return MTBenchFiles(fetch(QUESTIONS), fetch(PROMPTS), fetch(REFERENCES))


def cached_files() -> MTBenchFiles | None:
    """The three files if they are on this machine; nothing is downloaded. Raises as `cached`."""
    questions, prompts, references = cached(QUESTIONS), cached(PROMPTS), cached(REFERENCES)
    if questions is None or prompts is None or references is None:
        return None
    return MTBenchFiles(questions, prompts, references)
