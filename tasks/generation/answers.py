"""The files of a finished generation: the answers in the benchmark's form, and summary.json."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tasks.core.append_file import PRIVATE
from tasks.core.errors import PermanentError
from tasks.core.values import canonical_json
from tasks.generation.answer_journal import Answer, Batch, Header, most_complete
from tasks.generation.questions import Question
from tasks.generation.rounds import answers_in_order, is_complete
from tasks.generation.settings import GenerationJob, GenerationSummary, QuestionForm
from tasks.stores.disk import whole_file

__all__ = [
    "SUMMARY",
    "answers_content",
    "answers_file",
    "finish",
    "is_looping",
    "require_answered",
    "summarize",
    "write_whole",
]

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


def answers_file(benchmark: str, form: QuestionForm) -> str:
    """The name of the file of a benchmark's answers."""
    return "answers.json" if form == "instructions" else f"{benchmark}.jsonl"


def answers_content(job: GenerationJob, questions: Sequence[Question], answers: Sequence[Answer]) -> bytes:
    """The file of answers, in the order of the questions and in the form of their file.

    instructions: a JSON list of {"instruction", "output", "generator"} (and "dataset" where the
    instruction has one). dialogues: FastChat's, a line a question, with both turns. prompts: Arena-Hard's, a
    line a prompt, with its category where it has one.
    It holds nothing that differs between two runs of the same job, such as times.
    """
    if job.form == "dialogues":
        rows = [
            _of_fastchat(job, question, answers[at :: len(questions)])
            for at, question in enumerate(questions)
        ]
        return b"".join(canonical_json(row) + b"\n" for row in rows)
    if job.form == "prompts":
        pairs = zip(questions, answers, strict=True)
        return b"".join(canonical_json(_of_arena_hard(job, *pair)) + b"\n" for pair in pairs)
    outputs = []
    for question, answer in zip(questions, answers, strict=True):
        keys = ("dataset", "instruction")
        kept: dict[str, Any] = {key: question.item[key] for key in keys if key in question.item}
        outputs.append({**kept, "output": answer.output, "generator": job.generator})
    return json.dumps(outputs, indent=1, ensure_ascii=False).encode() + b"\n"


def _of_fastchat(job: GenerationJob, question: Question, answers: Sequence[Answer]) -> dict[str, Any]:
    choice = {"index": 0, "turns": [answer.output.strip() for answer in answers]}
    return {"question_id": question.item["question_id"], "model_id": job.generator, "choices": [choice]}


def _of_arena_hard(job: GenerationJob, question: Question, answer: Answer) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": question.turns[0]},
        {"role": "assistant", "content": {"answer": answer.output}},
    ]
    category = {"category": question.category} if question.category else {}
    return {"uid": question.item["uid"], **category, "model": job.generator, "messages": messages}


def finish(job: GenerationJob, fingerprint: str, questions: Sequence[Question]) -> GenerationSummary | None:
    """Writes the answers and, as the last, summary.json, if the journal is complete; else does nothing."""
    folder = Path(job.output)
    found = most_complete(folder, fingerprint)
    if found is None or not is_complete(found[1], questions, job.settings):
        return None
    header, batches = found
    content = answers_content(job, questions, answers_in_order(batches))
    summary = summarize(header, batches, hashlib.sha256(content).hexdigest())
    write_whole(folder / answers_file(job.benchmark, job.form), content)
    write_whole(folder / SUMMARY, summary.model_dump_json(indent=1).encode() + b"\n")
    return summary


def summarize(header: Header, batches: Mapping[int, Batch], answers_sha256: str) -> GenerationSummary:
    """Counts over the whole journal."""
    answers = answers_in_order(batches)
    seconds = sum(batch.seconds for batch in batches.values())
    tokens = sum(answer.tokens for answer in answers)
    reasons = Counter(answer.finish_reason for answer in answers)
    return GenerationSummary(
        job=header.job,
        count=len(answers),
        empty=sum(not answer.output.strip() for answer in answers),
        truncated=reasons["length"],
        without_end=len(answers) - reasons["stop"],
        repeating=sum(answer.looping for answer in answers),
        mean_characters=fmean(len(answer.output) for answer in answers),
        mean_tokens=tokens / len(answers),
        seconds=seconds,
        tokens_per_second=tokens / max(seconds, 1e-9),
        engine=header.engine,
        chat_template_sha256=header.chat_template_sha256,
        answers_sha256=answers_sha256,
        stop_token_ids=header.stop_token_ids,
        first_prompt_ids=header.first_prompt_ids,
        finish_reasons=dict(sorted(reasons.items())),
        failures=dict(sorted(Counter(answer.failure for answer in answers if answer.failure).items())),
    )


def require_answered(
    generator: str, place: str, failures: Mapping[str, int], count: int, max_failed: float, example: str = ""
) -> None:
    """Refuses an arm of which an endpoint did not give too many answers, before its judge is paid.

    place     where the generation lies
    failures  by cause; count: the answers that were wanted
    example   what came in place of one

    Raises:
        PermanentError: they are more than `max_failed` of all.
    """
    failed = sum(failures.values())
    if failed <= max_failed * count:
        return
    causes = ", ".join(f"{number} {cause}" for cause, number in sorted(failures.items()))
    said = f"; one of them: {' '.join(example.split())[:300]}" if example else ""
    raise PermanentError(
        f"{generator}: {failed} of {count} answers were not given ({causes}), more than the {max_failed:.0%} "
        f"that the run allows{said}. Allow more (--max-failed), or mend the endpoint and remove {place} "
        "to ask again"
    )


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is either there whole or not there, for its owner alone."""
    with (
        whole_file(path) as part,
        os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file,
    ):
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
