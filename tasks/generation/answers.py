"""The files of a finished generation: answers.json in AlpacaEval's form, and summary.json."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tasks.generation.journal import Journal
from tasks.generation.prompts import PromptSet
from tasks.generation.settings import GenerationJob, GenerationSummary

__all__ = ["ANSWERS", "SUMMARY", "is_looping", "model_outputs", "summarise", "write_whole"]

ANSWERS = "answers.json"
SUMMARY = "summary.json"
LOOP_PERIOD = 32
LOOP_TIMES = 4
LOOP_TOKENS = 32


def is_looping(token_ids: Sequence[int]) -> bool:
    """Whether an answer ends in a loop.

    That is: for some period of at most 32 tokens, the last tokens (four periods, and 32 at
    least) repeat with that period.
    """
    ids = tuple(token_ids)
    for period in range(1, LOOP_PERIOD + 1):
        tail = ids[-max(LOOP_TIMES * period, LOOP_TOKENS) :]
        if len(tail) < max(LOOP_TIMES * period, LOOP_TOKENS):
            return False
        if tail[period:] == tail[:-period]:
            return True
    return False


def model_outputs(job: GenerationJob, items: list[dict[str, Any]], journal: Journal) -> bytes:
    """answers.json: a list of {"instruction", "output", "generator"} (and "dataset" where the
    instruction has one) in the order of the instructions. It holds nothing that differs between
    two runs of the same job, such as times."""
    outputs = []
    for item, answer in zip(items, journal.answers, strict=True):
        kept: dict[str, Any] = {key: item[key] for key in ("dataset", "instruction") if key in item}
        outputs.append({**kept, "output": answer.output, "generator": job.generator})
    return json.dumps(outputs, indent=1, ensure_ascii=False).encode() + b"\n"


def summarise(
    job: str, engine: str, journal: Journal, prompts: PromptSet, answers_json: bytes
) -> GenerationSummary:
    """Counts over the whole journal; `job` is the fingerprint, `engine` the name and version."""
    answers = journal.answers
    seconds = sum(batch.seconds for batch in journal.batches)
    tokens = sum(answer.tokens for answer in answers)
    reasons = Counter(answer.finish_reason for answer in answers)
    return GenerationSummary(
        job=job,
        count=len(answers),
        empty=sum(not answer.output.strip() for answer in answers),
        truncated=reasons["length"],
        without_end=len(answers) - reasons["stop"],
        repeating=sum(answer.looping for answer in answers),
        mean_characters=fmean(len(answer.output) for answer in answers),
        mean_tokens=tokens / len(answers),
        seconds=seconds,
        tokens_per_second=tokens / max(seconds, 1e-9),
        engine=engine,
        chat_template_sha256=hashlib.sha256(prompts.template.encode()).hexdigest(),
        answers_sha256=hashlib.sha256(answers_json).hexdigest(),
        stop_token_ids=prompts.stop_token_ids,
        first_prompt_ids=prompts.token_ids[0],
        finish_reasons=dict(sorted(reasons.items())),
    )


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is either there whole or not there."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
