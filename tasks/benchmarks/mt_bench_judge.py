"""MT-Bench: 80 questions of two turns, each answer rated from 1 to 10 by the judge.

The rules are FastChat's `llm_judge`, single-answer grading (arXiv 2306.05685), whose own program
does not run with today's openai package: its prompts, a reference answer for math, reasoning and
coding, temperature 0, at most 2048 tokens, and its two patterns for the rating.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tasks.benchmarks.asking import Failure, Request, ask_all, check_share
from tasks.benchmarks.budget import Usage, estimate
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.judge_journal import JOURNAL, Choice, Journal
from tasks.benchmarks.mt_bench_data import MTBenchFiles
from tasks.core.errors import InputError
from tasks.core.text_files import read_json_lines
from tasks.core.values import fingerprint
from tasks.generation.completions import text_of
from tasks.stores.disk import whole_file

__all__ = [
    "HIGHEST",
    "JUDGMENTS",
    "LOWEST",
    "TEMPERATURES",
    "UNPARSED",
    "answer_of",
    "expected_usage",
    "judge_turns",
    "rating_of",
    "read_turns",
]

JUDGMENTS = "judgments.jsonl"
UNPARSED = -1.0
LOWEST, HIGHEST = 1, 10
ANSWER = 1500  # characters, as those of the references

# of the answers that are to be judged, by category
TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "reasoning": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "extraction": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
REFERENCED = ("math", "reasoning", "coding")
RATINGS = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))

Row = dict[str, Any]


class _Item(NamedTuple):
    """One turn of one question, as it is put to the judge."""

    question_id: int
    turn: int
    prompt: str
    system: str
    user: str


def judge_turns(
    answers: Path,
    files: MTBenchFiles,
    judge: Judge,
    folder: Path,
    *,
    advance: Callable[[int], None],
    again: bool = False,
) -> Path:
    """Rates a file of answers in FastChat's form, and writes folder/judgments.jsonl in FastChat's form.

    A line for each turn, first turns first: "question_id", "turn", "judge" (model and prompt),
    "user_prompt", "judgment", and "score": -1 where the judgment holds no rating, null where there
    is no judgment ("no_judgment" then says why). The journal beside it makes a restart pay only for
    what was in flight; with `again` it pays once more for judgments without a rating.

    Raises:
        InputError: a question is not answered in both turns, or a file is not of its form.
        RetryableError, PermanentError: as in `ask_all` and `check_share`.
    """
    items = _items(read_turns(answers), files)
    model = read_json_lines(answers)[0][1].get("model_id", "unknown model")
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder / JOURNAL) as journal:
        requests = [_request(item, judge) for item in items]
        defect = _unrated if again else _empty
        choices = ask_all(
            requests, judge, journal, defect=defect, says_something=_has_rating, advance=advance
        )
        if again:  # what is unparsed once more is what it was
            choices = [
                _text_of_last(choice, journal, request)
                for choice, request in zip(choices, requests, strict=True)
            ]
    failures = [choice for choice in choices if isinstance(choice, Failure)]
    check_share(failures, len(failures), len(items), judge)
    lines = [_judgment(item, choice, judge, model) for item, choice in zip(items, choices, strict=True)]
    with whole_file(folder / JUDGMENTS) as part:
        part.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / JUDGMENTS


def expected_usage(files: MTBenchFiles, judge: Judge) -> Usage:
    """What rating an arm will use if its answers are ANSWER characters long."""
    answers = {row["question_id"]: ["x" * ANSWER] * 2 for _, row in read_json_lines(files.questions)}
    return estimate([_request(item, judge) for item in _items(answers, files)])


def rating_of(judgment: str) -> float:
    """The rating in a judgment's text, from 1 to 10; -1 where the first match of a pattern is none.

    What a judge thought before it answered is no part of the judgment.
    """
    said = answer_of(judgment)
    for pattern in RATINGS:
        if found := pattern.search(said):
            rating = float(found[1])
            return rating if LOWEST <= rating <= HIGHEST else UNPARSED
    return UNPARSED


def answer_of(reply: str) -> str:
    """What a reply says after its thought: <think>…</think>, or all up to a </think> alone."""
    _, end, said = reply.rpartition("</think>")
    if end:
        return said
    return "" if said.lstrip().startswith("<think>") else said


def _items(turns: dict[int, list[str]], files: MTBenchFiles) -> list[_Item]:
    """What the judge sees of each turn: FastChat's prompts, filled."""
    prompts = {row["name"]: row for _, row in read_json_lines(files.prompts)}
    references = read_turns(files.references)
    items = []
    for turn, suffix in ((1, ""), (2, "-multi-turn")):
        for _, question in read_json_lines(files.questions):
            number, referenced = question["question_id"], question["category"] in REFERENCED
            if number not in turns:
                raise InputError(f"no answer to question {number} of {files.questions}: answer all of them")
            if referenced and number not in references:
                raise InputError(f"{files.references}: no reference answer to question {number}")
            fields = _fields(question["turns"], turns[number], references[number] if referenced else None)
            prompt = prompts[f"single-math-v1{suffix}" if referenced else f"single-v1{suffix}"]
            user = prompt["prompt_template"].format(**fields)
            items.append(_Item(number, turn, prompt["name"], prompt["system_prompt"], user))
    return items


def _fields(questions: list[str], answers: list[str], references: list[str] | None) -> dict[str, str]:
    """The names that FastChat's prompts use."""
    fields = {"question": questions[0], "answer": answers[0]}
    for name, texts in (("question", questions), ("answer", answers), ("ref_answer", references or [])):
        fields |= {f"{name}_{number}": text for number, text in enumerate(texts, start=1)}
    return fields


def _request(item: _Item, judge: Judge) -> Request:
    messages = [{"role": "system", "content": item.system}, {"role": "user", "content": item.user}]
    return {"model": judge.model, "messages": messages, **judge.grading_sampling.arguments()}


def _empty(choice: Choice) -> str:
    """Any text is a judgment: one without a rating is counted, as published, and not asked again."""
    return "" if text_of(choice) else "no text"


def _unrated(choice: Choice) -> str:
    return "" if _has_rating(choice) else _empty(choice) or "unparsed"


def _has_rating(choice: Choice) -> bool:
    return rating_of(text_of(choice)) != UNPARSED


def _text_of_last(choice: Choice | Failure, journal: Journal, request: Request) -> Choice | Failure:
    last = journal.get(fingerprint(request)) if isinstance(choice, Failure) else None
    return last if last is not None and text_of(last) else choice


def _judgment(item: _Item, choice: Choice | Failure, judge: Judge, model: str) -> Row:
    text = None if isinstance(choice, Failure) else text_of(choice)
    why_none = {"no_judgment": choice.cause} if isinstance(choice, Failure) else {}
    return {
        "question_id": item.question_id,
        "model": model,
        "judge": [judge.model, item.prompt],
        "user_prompt": item.user,
        "judgment": text,
        "score": None if text is None else rating_of(text),
        "turn": item.turn,
        **why_none,
    }


def read_turns(path: Path) -> dict[int, list[str]]:
    """Each question's two answers, in a file of FastChat's form.

    Raises:
        InputError: the file is not of that form, or answers a question twice.
    """
    turns: dict[int, list[str]] = {}
    for number, row in read_json_lines(path):
        try:
            texts = row["choices"][0]["turns"]
            question = int(row["question_id"])
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            raise InputError(f"{path}: line {number} is no answer of FastChat's form") from None
        if not isinstance(texts, list) or len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{path}: line {number}: question {question} needs two turns of text")
        if question in turns:
            raise InputError(f"{path}: line {number}: question {question} is answered twice")
        turns[question] = texts
    return turns
