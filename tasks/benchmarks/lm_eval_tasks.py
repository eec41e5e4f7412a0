"""lm-eval as a scorer of stored answers: its checkers and its exact match, loaded when an answer is checked.

Nothing is downloaded: the one file that the package would fetch at import is pinned
(`tasks.benchmarks.nltk_files`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.benchmarks import nltk_files
from tasks.benchmarks.instruction_following import Checker
from tasks.benchmarks.scorers import require_scorer

__all__ = ["VERSION", "exact_match", "instruction_checker", "require_lm_eval"]

# of the package whose rules the figures stand under: another one may score otherwise
VERSION = "0.4.13"


def require_lm_eval() -> None:
    """Refuses to go on without the package, or with another version of it.

    Raises:
        PermanentError: with one line that says what to install.
    """
    require_scorer("lm-eval", VERSION, "IFEval and GSM8K are")


def instruction_checker() -> Checker:
    """What says which of an IFEval document's instructions an answer follows.

    Raises:
        RetryableError, PermanentError: nltk's file cannot be had, or the package is missing.
    """
    require_lm_eval()
    nltk_files.offer_to_nltk(nltk_files.PUNKT)
    from langdetect import DetectorFactory
    from lm_eval.tasks.ifeval.utils import process_results

    DetectorFactory.seed = 0  # otherwise the language of a short answer is drawn anew each time

    def check(document: Mapping[str, Any], answer: str) -> tuple[list[bool], list[bool]]:
        found = process_results(dict(document), [answer])
        return list(found["inst_level_strict_acc"]), list(found["inst_level_loose_acc"])

    return check


def exact_match(
    task: str, documents: Sequence[Mapping[str, Any]], answers: Sequence[str]
) -> list[dict[str, bool]]:
    """Whether each answer is right by each of a task's filters, as `strict-match` and `flexible-extract`.

    Filters, target and match are read from the task's own file; its answers were given elsewhere.

    task       path of its file below the package's folder of tasks
    documents  in the form of the task's data set, one for each answer

    Raises:
        PermanentError: the package is missing.
    """
    require_lm_eval()
    from jinja2 import Environment
    from lm_eval.api.metrics import exact_match_fn
    from lm_eval.api.registry import get_filter

    config = _task_file(task)
    (metric,) = config["metric_list"]
    options = {name: metric[name] for name in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}
    target = Environment().from_string(config["doc_to_target"])
    targets = [target.render(document) for document in documents]
    right: list[dict[str, bool]] = [{} for _ in documents]
    for chain in config["filter_list"]:
        found: Any = [[answer] for answer in answers]
        for step in chain["filter"]:
            arguments = {name: value for name, value in step.items() if name != "function"}
            found = list(get_filter(step["function"])(**arguments).apply(found, documents))
        for place, (extracted, wanted) in enumerate(zip(found, targets, strict=True)):
            matched = exact_match_fn(predictions=[extracted], references=[wanted], **options)
            right[place][chain["name"]] = bool(matched["exact_match"])
    return right


def _task_file(task: str) -> dict[str, Any]:
    import yaml
    from lm_eval import tasks

    content: dict[str, Any] = yaml.safe_load(
        (Path(str(tasks.__file__)).parent / task).read_text(encoding="utf-8")
    )
    return content
