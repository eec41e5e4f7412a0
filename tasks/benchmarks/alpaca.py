"""AlpacaEval 2.0: each answer against the reference's, judged through alpaca_eval's own annotator.

The annotator decides which output is shown first, fills the prompt and reads the preference
from the log-probabilities, in the form of its `weighted_alpaca_eval_gpt4_turbo`. Only the
requests themselves are ours: alpaca_eval's own loses answers (it keeps a preference of -1
after ten rate limits, and up to 128 paid answers when it is killed).
"""

import logging
import math
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from tasks.benchmarks.asking import Failure, Request, ask_all, check_share
from tasks.benchmarks.budget import Usage, estimate
from tasks.benchmarks.judge_config import Judge, prompt_file
from tasks.benchmarks.judge_journal import JOURNAL, Choice, Journal
from tasks.benchmarks.outputs import Row, in_order_of, read_answers, write_rows
from tasks.core.values import canonical_json

__all__ = ["ANNOTATIONS", "expected_usage", "judge_answers", "load_package"]

ANNOTATIONS = "annotations.json"

PARSER: dict[str, Any] = {"numerator_token": "m", "denominator_tokens": ["m", "M"], "is_binarize": False}
RAW = "preference_raw_completion"  # what the package calls the judge's answer
NO_JUDGMENT: Choice = {"text": "", "logprobs": {"content": [{"top_logprobs": []}]}}

_CHATML = re.compile(
    r"<\|im_start\|>system\n(?P<system>.*?)<\|im_end\|>\s*<\|im_start\|>user\n(?P<user>.*)<\|im_end\|>",
    re.DOTALL,
)


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
    both are the same text, null where there is no judgment. With `both_orders` it is the mean of
    both, null where one is, and "preference_swapped" is that of the other order. The journal
    beside it makes a restart pay only for what was in flight. `advance` gets the number of
    requests that are done: one for each item, two with `both_orders`.

    Raises:
        InputError: the two files do not have the same instructions, or the key is not set.
        RetryableError: the endpoint cannot be reached or was too busy.
        PermanentError: it refuses what is asked, or gives too few judgments.
    """
    theirs = read_answers(reference)
    ours = in_order_of(theirs, read_answers(answers), answers)
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    with Journal(folder / JOURNAL) as journal:

        def complete(prompts: Sequence[str], **sampling: object) -> dict[str, list[Any]]:
            requests = [_request(prompt, judge, sampling) for prompt in prompts]
            choices = ask_all(requests, judge, journal, is_usable=_is_usable, advance=advance)
            failures.extend(choice for choice in choices if isinstance(choice, Failure))
            return _completions(choices)

        shown_in = 2 if judge.both_orders else 1
        advance(shown_in * sum(a["output"] == b["output"] for a, b in zip(ours, theirs, strict=True)))
        rows = _annotate(theirs, ours, judge, complete)
    check_share(failures, sum(row["preference"] is None for row in rows), len(rows), judge)
    write_rows(rows, folder / ANNOTATIONS)
    return folder / ANNOTATIONS


def expected_usage(reference: Path, judge: Judge) -> Usage:
    """What judging an arm will use if its answers are as long as the reference's."""
    template = prompt_file().read_text()
    texts = [template + row["instruction"] + 2 * row["output"] for row in read_answers(reference)]
    once = estimate(
        [{"messages": [{"content": text}], **judge.pairwise_sampling.arguments()} for text in texts]
    )
    return once + once if judge.both_orders else once


def _annotate(
    theirs: list[Row], ours: list[Row], judge: Judge, complete: Callable[..., dict[str, list[Any]]]
) -> list[Row]:
    """Runs the package's annotator with our completions, its cache off: ours is the journal."""
    annotators = load_package()
    with tempfile.TemporaryDirectory(prefix="expo-") as folder:
        annotator = annotators.PairwiseAnnotator(
            annotators_config=_write_config(judge, Path(folder)),
            seed=judge.seed,
            fn_completions=complete,
            caching_path=None,
            other_output_keys_to_keep=("{annotation_key}_raw_completion",),
        )
    # which output is shown first hangs on the instruction alone: given the other way round, a pair
    # is shown the other way round
    swapped = judge.both_orders
    rows = annotator.annotate_head2head(
        outputs_1=[_shown(row) for row in (theirs + ours if swapped else theirs)],
        outputs_2=[_shown(row) for row in (ours + theirs if swapped else ours)],
        is_ordered=True,
        chunksize=None,
    )
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    return _both_orders(plain[: len(ours)], plain[len(ours) :]) if swapped else plain


def _both_orders(rows: list[Row], swapped: list[Row]) -> list[Row]:
    """Each pair once, with the mean of its two preferences."""
    merged = []
    for row, other in zip(rows, swapped, strict=True):
        pair = (row["preference"], None if other["preference"] is None else 3 - other["preference"])
        mean = None if None in pair else sum(pair) / 2
        extra = {"preference_swapped": pair[1], f"{RAW}_swapped": other.get(RAW)}
        merged.append({**row, "preference": mean, **extra})
    return merged


def _write_config(judge: Judge, folder: Path) -> Path:
    """The annotator's configuration. JSON is YAML; its one key is the annotator's name."""
    config = {
        "prompt_template": str(prompt_file()),
        "completions_kwargs": {"model_name": judge.model, **judge.pairwise_sampling.arguments()},
        "fn_completion_parser": "logprob_parser",
        "completion_parser_kwargs": PARSER,
        "completion_key": "completions_all",
        "batch_size": 1,
    }
    path = folder / "configs.yaml"
    path.write_bytes(canonical_json({judge.model: config}))
    return path


def _request(prompt: str, judge: Judge, sampling: dict[str, object]) -> Request:
    """The prompt as two messages.

    alpaca_eval cuts it at every ChatML mark, also at those that an answer contains; here the
    judge always sees the whole answer. Without such marks the messages are the same.
    """
    parts = _CHATML.fullmatch(prompt.strip())
    assert parts is not None, "alpaca_eval's prompt has another form"
    messages = [{"role": role, "content": parts[role].strip()} for role in ("system", "user")]
    settings = {name: value for name, value in sampling.items() if name != "model_name"}
    return {"model": judge.model, "messages": messages, **settings}


def _completions(choices: Sequence[Choice | Failure]) -> dict[str, list[Any]]:
    """In the form of alpaca_eval's own `openai_completions`."""
    done = [NO_JUDGMENT if isinstance(choice, Failure) else choice for choice in choices]
    return {"completions": [choice.get("text", "") for choice in done], "completions_all": done}


def _is_usable(choice: Choice) -> bool:
    """Whether the package's parser finds one of the two names among the likeliest tokens."""
    content = (choice.get("logprobs") or {}).get("content") or [{}]
    names = {token["token"] for token in content[0].get("top_logprobs") or []}
    return len(content) == 1 and bool(names & set(PARSER["denominator_tokens"]))


def _shown(row: Row) -> Row:
    return {key: row[key] for key in ("instruction", "output", "generator", "dataset") if key in row}


def _plain(value: object) -> object:
    """NaN, pandas' mark for nothing, as None: JSON has no other."""
    return None if isinstance(value, float) and math.isnan(value) else value


def load_package() -> ModuleType:
    """alpaca_eval's annotators, quiet: the import makes the root logger loud, a chunk shows a bar."""
    root = logging.getLogger()
    level = root.level
    from alpaca_eval import annotators, utils

    root.setLevel(level)
    utils.tqdm = SimpleNamespace(tqdm=lambda chunks, **_: chunks)
    module: ModuleType = annotators
    return module
