"""AlpacaEval 2.0: each answer against the reference's, judged through alpaca_eval's own annotator.

The annotator decides which output is shown first, fills the prompt and reads the preference, from
log-probabilities (`weighted_alpaca_eval_gpt4_turbo`) or from what was written (`alpaca_eval_gpt4`). Only
the requests are made here: alpaca_eval's own loses answers (it keeps a preference of -1
after ten rate limits, and up to 128 paid answers when it is killed).
"""

import logging
import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml

from tasks.benchmarks.alpaca_annotators import CHATML, Annotator, defect_of, find_annotator, reply_text
from tasks.benchmarks.alpaca_files import Row, in_order_of, read_answers, write_rows
from tasks.benchmarks.alpaca_mass import parseable
from tasks.benchmarks.asking import Failure, Request, ask_all, check_share
from tasks.benchmarks.budget import Usage, estimate
from tasks.benchmarks.figures import UNKNOWN_CAUSE
from tasks.benchmarks.judge_config import PUBLISHED_ANNOTATOR, Judge
from tasks.benchmarks.judge_journal import JOURNAL, Choice, Journal

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ANNOTATIONS",
    "RAW",
    "WHY_NONE",
    "expected_usage",
    "fill",
    "judge_answers",
    "judge_name",
    "load_package",
]

ANNOTATIONS = "annotations.json"

RAW = "preference_raw_completion"  # what the package calls the judge's answer
WHY_NONE = "no_judgment"  # the cause, in the row of an item without a judgment
PLACEHOLDERS = ("instruction", "output_1", "output_2")
NO_JUDGMENT: Choice = {"text": "", "logprobs": {"content": [{"top_logprobs": []}]}}


def judge_name(judge: Judge) -> str:
    """The judge's model, with the annotator in brackets unless it is AlpacaEval 2.0's.

    Two annotators of one model differ as judges do.
    """
    by = judge.annotator
    return judge.model if by == PUBLISHED_ANNOTATOR else f"{judge.model} ({by})"


def judge_answers(
    answers: Path,
    reference: Path,
    judge: Judge,
    folder: Path,
    *,
    advance: Callable[[int], None],
) -> Path:
    """Judges a file of answers against the reference's, and writes folder/annotations.json.

    It holds every instruction once, in the reference's order, as alpaca_eval's own files do:
    "preference" from 1 (the reference is better) to 2 (the answer is), 1.5 without asking where
    both are the same text, null where there is no judgment ("no_judgment" then says why). With
    `both_orders` it is the mean of both, null where one is, and "preference_swapped" is that of the
    other order. "annotator" is the judge's model, with the annotator in brackets unless it is AlpacaEval
    2.0's. The journal beside it makes a restart pay only for what was in flight. `advance` gets
    the number of requests that are done: one for each item, two with `both_orders`.

    Raises:
        InputError: the two files do not have the same instructions, or the key is not set.
        RetryableError: the endpoint cannot be reached or was too busy.
        PermanentError: it refuses what is asked, or gives too few judgments.
    """
    annotator, expected = find_annotator(judge.annotator), read_answers(reference)
    judged = in_order_of(expected, read_answers(answers), answers)
    folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, Failure] = {}  # by prompt
    with Journal(folder / JOURNAL) as journal:

        def complete(prompts: Sequence[str], **sampling: object) -> dict[str, list[Any]]:
            requests = [_request(prompt, judge, annotator, sampling) for prompt in prompts]
            choices = ask_all(
                requests, judge, journal, defect=partial(defect_of, annotator=annotator), advance=advance
            )
            failed.update(
                (prompt, choice)
                for prompt, choice in zip(prompts, choices, strict=True)
                if isinstance(choice, Failure)
            )
            return _completions(choices, annotator)

        shown_in = 2 if judge.both_orders else 1
        advance(shown_in * sum(a["output"] == b["output"] for a, b in zip(judged, expected, strict=True)))
        annotated = _annotate(expected, judged, judge, annotator, complete)
        rows = [{**_with_cause(row, failed, annotator), "annotator": judge_name(judge)} for row in annotated]
    check_share([*failed.values()], sum(row["preference"] is None for row in rows), len(rows), judge)
    write_rows(rows, folder / ANNOTATIONS)
    return folder / ANNOTATIONS


def expected_usage(reference: Path, judge: Judge) -> Usage:
    """What judging an arm will use if its answers are as long as the reference's."""
    template = find_annotator(judge.annotator).prompt.read_text()
    texts = [template + row["instruction"] + 2 * row["output"] for row in read_answers(reference)]
    once = estimate(
        [{"messages": [{"content": text}], **judge.pairwise_sampling.arguments()} for text in texts]
    )
    return once + once if judge.both_orders else once


def _annotate(
    reference: list[Row],
    answers: list[Row],
    judge: Judge,
    by: Annotator,
    complete: Callable[..., dict[str, list[Any]]],
) -> list[Row]:
    """Runs the package's annotator with this module's completions; the journal replaces its cache."""
    annotators = load_package()
    with tempfile.TemporaryDirectory(prefix="expo-") as folder:
        annotator = annotators.PairwiseAnnotator(
            annotators_config=_write_config(judge, by, Path(folder)),
            seed=judge.seed,
            fn_completions=complete,
            caching_path=None,
            other_output_keys_to_keep=("{annotation_key}_raw_completion",),
        )
    # which output is shown first hangs on the instruction alone: given the other way round, a pair
    # is shown the other way round
    swapped = judge.both_orders
    rows = annotator.annotate_head2head(
        outputs_1=[_shown(row) for row in (reference + answers if swapped else reference)],
        outputs_2=[_shown(row) for row in (answers + reference if swapped else answers)],
        is_ordered=True,
        chunksize=None,
    )
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    return _both_orders(plain[: len(answers)], plain[len(answers) :]) if swapped else plain


def _with_cause(row: Row, failed: Mapping[str, Failure], by: Annotator) -> Row:
    """A row without a preference, with why there is none: the package drops the judge's answer to it."""
    if row["preference"] is not None:
        return row
    template, pair = by.prompt.read_text(), (row["output_1"], row["output_2"])
    for first, second in (pair, pair[::-1]):  # either may have been shown first
        texts = (row["instruction"], first, second)
        if failure := failed.get(fill(template, dict(zip(PLACEHOLDERS, texts, strict=True)))):
            return {**row, WHY_NONE: failure.cause}
    return {**row, WHY_NONE: UNKNOWN_CAUSE}


def _both_orders(rows: list[Row], swapped: list[Row]) -> list[Row]:
    """Each pair once, with the mean of its two preferences."""
    merged = []
    for row, other in zip(rows, swapped, strict=True):
        pair = (row["preference"], None if other["preference"] is None else 3 - other["preference"])
        mean = None if None in pair else sum(pair) / 2
        extra = {"preference_swapped": pair[1], f"{RAW}_swapped": other.get(RAW)}
        merged.append({**row, "preference": mean, **extra})
    return merged


def _write_config(judge: Judge, by: Annotator, folder: Path) -> Path:
    """The annotator's configuration; its one key is the annotator's name."""
    path = folder / "configs.yaml"
    path.write_text(yaml.safe_dump({judge.model: by.config(judge)}), encoding="utf-8")
    return path


def _request(prompt: str, judge: Judge, by: Annotator, sampling: dict[str, object]) -> Request:
    """The prompt as two messages.

    alpaca_eval cuts it at every ChatML mark, also at those that an answer contains; here the
    judge always sees the whole answer. Without such marks the messages are the same.
    """
    parts = CHATML.fullmatch(prompt.strip())
    assert parts is not None, "alpaca_eval's prompt has another form"
    messages = [{"role": role, "content": parts[role].strip()} for role in ("system", "user")]
    settings = {name: value for name, value in sampling.items() if name != "model_name"}
    return {"model": judge.model, "messages": messages, **settings, **by.request}


def _completions(choices: Sequence[Choice | Failure], by: Annotator) -> dict[str, list[Any]]:
    """In the form of alpaca_eval's own `openai_completions`."""
    if by.reads == "text":
        texts = ["" if isinstance(choice, Failure) else reply_text(choice) for choice in choices]
        return {"completions": texts, "completions_all": texts}
    done = [NO_JUDGMENT if isinstance(choice, Failure) else parseable(choice) for choice in choices]
    return {"completions": [choice.get("text", "") for choice in done], "completions_all": done}


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with each {name} of the fields replaced, in one pass: no text is searched for names."""
    names = "|".join(re.escape(name) for name in fields)
    return re.sub(rf"\{{({names})\}}", lambda found: fields[found[1]], template)


def _make_prompts(
    df: "pd.DataFrame",
    template: str,
    batch_size: int = 1,  # noqa: ARG001 - as the package calls it; always 1 here
) -> "tuple[list[str], pd.DataFrame]":
    """In place of the package's own, which looks for the next name in the text that it has just put in."""
    columns = [name for name in PLACEHOLDERS if f"{{{name}}}" in template]
    rows = df[columns].astype(str).to_dict("records")
    return [fill(template, row) for row in rows], df.copy()


def _shown(row: Row) -> Row:
    return {key: row[key] for key in ("instruction", "output", "generator", "dataset") if key in row}


def _plain(value: object) -> object:
    """NaN, pandas' mark for nothing, as None: JSON has no other."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _is_not_the_packages(record: logging.LogRecord) -> bool:
    return "alpaca_eval" not in Path(record.pathname).parts


def load_package() -> ModuleType:
    """alpaca_eval's annotators, quiet: the import makes the root logger loud, a chunk shows a bar.

    What it logs of items without a judgment is counted, with its cause, in what is reported here.
    """
    root = logging.getLogger()
    level = root.level
    root.addFilter(_is_not_the_packages)
    from alpaca_eval import annotators, utils

    root.setLevel(level)
    utils.make_prompts = _make_prompts
    utils.tqdm = SimpleNamespace(tqdm=lambda chunks, **_: chunks)
    module: ModuleType = annotators
    return module
