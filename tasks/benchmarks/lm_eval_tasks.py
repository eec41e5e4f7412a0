"""lm-eval as a scorer of stored answers: its checkers and its exact match, loaded when an answer is checked.

Nothing is downloaded: the one file that the package would fetch at import, nltk's `punkt_tab`, is
pinned with the benchmarks' data and found by nltk before the package looks for it.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tasks.benchmarks.data import DataFile, fetch
from tasks.core.errors import PermanentError
from tasks.stores.disk import whole_file

__all__ = ["PUNKT", "VERSION", "exact_match", "fetch_tokenizer", "instruction_checker", "require_lm_eval"]

# of the package whose rules the figures stand under: another one may score otherwise
VERSION = "0.4.13"
NLTK_DATA = "https://raw.githubusercontent.com/nltk/nltk_data/4f15a3d89eefe9748ec1c05be495d91289197155"
PUNKT = DataFile(
    "punkt_tab.zip",
    "e57f64187974277726a3417ca6f181ec5403676c717672eef6a748a7b20e0106",
    f"{NLTK_DATA}/packages/tokenizers/punkt_tab.zip",
)
LANGUAGE = "punkt_tab/english/"  # the only one that is asked for


def require_lm_eval() -> None:
    """Refuses to go on without the package, or with another version of it.

    Raises:
        PermanentError: with one line that says what to install.
    """
    try:
        found = version("lm_eval")
    except PackageNotFoundError:
        raise PermanentError(
            "IFEval and GSM8K are scored by lm-eval, which is not installed: pip install 'expo-flows[guards]'"
        ) from None
    if found != VERSION:
        raise PermanentError(
            f"IFEval and GSM8K are scored by lm-eval {VERSION}, and {found} is installed: "
            f"pip install 'lm-eval=={VERSION}'"
        )


def instruction_checker() -> Callable[[Mapping[str, Any], str], tuple[list[bool], list[bool]]]:
    """What says which of an IFEval document's instructions an answer follows, strictly and loosely.

    A document has key, prompt, instruction_id_list and kwargs, as in the data set.

    Raises:
        RetryableError, PermanentError: nltk's file cannot be had, or the package is missing.
    """
    require_lm_eval()
    _offer_punkt()
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


def fetch_tokenizer() -> Path:
    """nltk's pinned sentence tokenizer as an archive on this machine's disk, downloaded if need be.

    Raises:
        RetryableError, PermanentError: it cannot be had.
    """
    return fetch(PUNKT)


def _task_file(task: str) -> dict[str, Any]:
    import yaml
    from lm_eval import tasks

    content: dict[str, Any] = yaml.safe_load(
        (Path(str(tasks.__file__)).parent / task).read_text(encoding="utf-8")
    )
    return content


def _offer_punkt() -> None:
    """Lets nltk find the pinned sentence tokenizer, unpacked beside its archive."""
    import nltk

    archive = fetch_tokenizer()
    folder = archive.parent / "nltk_data"
    target = folder / "tokenizers"
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            path = target / name
            if name.startswith(LANGUAGE) and not name.endswith("/") and not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path) as part:
                    part.write_bytes(packed.read(name))
    if str(folder) not in nltk.data.path:
        nltk.data.path.insert(0, str(folder))
