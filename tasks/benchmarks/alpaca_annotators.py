"""AlpacaEval's own annotators by name: prompt, sampling and parser as the installed package has them.

    find_annotator("weighted_alpaca_eval_gpt4_turbo")     AlpacaEval 2.0's: log-probabilities of one token
    find_annotator("alpaca_eval_gpt4")                    AlpacaEval 1's: a written ranking
    find_annotator("alpaca_eval_gpt4_turbo_fn")           the same as a function call

Those that this module takes ask one chat completion a pair, and read the log-probabilities of the names
m and M in a reply of one token, or its text.
"""

import importlib.util
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from tasks.benchmarks.alpaca_mass import NAMES, defect
from tasks.benchmarks.judge_config import PUBLISHED_ANNOTATOR, Judge, JudgeSampling
from tasks.benchmarks.judge_journal import Choice
from tasks.benchmarks.mt_bench_judge import answer_of
from tasks.core.errors import InputError
from tasks.core.values import Value
from tasks.generation.completions import field_of, text_of

__all__ = ["CHATML", "Annotator", "defect_of", "find_annotator", "prompt_file", "reply_text"]

TEXT_PARSERS = ("ranking_parser", "regex_parser", "pipeline_meta_parser")
SAMPLING = ("max_tokens", "temperature", "top_logprobs")
FUNCTIONS = ("tools", "tool_choice")
CHATML = re.compile(
    r"<\|im_start\|>system\n(?P<system>.*?)<\|im_end\|>\s*<\|im_start\|>user\n(?P<user>.*)<\|im_end\|>",
    re.DOTALL,
)
FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)


class Annotator(Value):
    """One annotator of the package.

    prompt    the file of its prompt, in ChatML's form
    model     the model that it was made for; sampling: how that is asked
    reads     log-probabilities of one token, or the text that was written
    parser    of the package, with its arguments
    request   what a request has besides: the function to call
    """

    name: str
    prompt: Path
    model: str
    sampling: JudgeSampling
    reads: Literal["logprobs", "text"]
    parser: str
    parser_arguments: dict[str, Any]
    request: dict[str, Any]

    def config(self, judge: Judge) -> dict[str, Any]:
        """The package's configuration of it, for this judge."""
        return {
            "prompt_template": str(self.prompt),
            "completions_kwargs": {"model_name": judge.model, **judge.pairwise_sampling.arguments()},
            "fn_completion_parser": self.parser,
            "completion_parser_kwargs": self.parser_arguments,
            "completion_key": "completions_all" if self.reads == "logprobs" else "completions",
            "batch_size": 1,
        }


@cache
def find_annotator(name: str = PUBLISHED_ANNOTATOR) -> Annotator:
    """An annotator by the name that it has in alpaca_eval.

    Raises:
        InputError: the package is not installed, has none of that name, or it is of a kind that is not
            taken here (other services, several pairs a request, a token bias).
    """
    folder = _configs()
    path = folder / name / "configs.yaml"
    if not re.fullmatch(r"[\w.-]+", name) or not path.is_file():
        raise InputError(f"alpaca_eval has no annotator {name!r}; its evaluators_configs names those it has")
    entry: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")).get(name) or {}
    if not _fits(entry, folder):
        raise InputError(
            f"annotator {name!r} cannot be used here: only those that ask an OpenAI-compatible endpoint for "
            "one pair at a time are, by a token's log-probabilities or a written ranking, as "
            "weighted_alpaca_eval_gpt4_turbo and alpaca_eval_gpt4"
        )
    arguments, (parser, parsed) = entry["completions_kwargs"], _parser(entry)
    reads: Literal["logprobs", "text"] = "logprobs" if parser == "logprob_parser" else "text"
    sampling = {field: arguments[field] for field in SAMPLING if field in arguments}
    if reads == "logprobs":
        sampling["top_p"] = 1.0  # the API's default, which a served model's own could replace
    return Annotator(
        name=name,
        prompt=folder / entry["prompt_template"],
        model=arguments["model_name"],
        sampling=JudgeSampling(**sampling),
        reads=reads,
        parser=parser,
        parser_arguments=parsed,
        request={field: arguments[field] for field in FUNCTIONS if field in arguments},
    )


def prompt_file(name: str = PUBLISHED_ANNOTATOR) -> Path:
    """An annotator's prompt, found without importing the package (which takes seconds)."""
    return find_annotator(name).prompt


def defect_of(choice: Choice, annotator: Annotator) -> str:
    """Why a reply is no judgment for this annotator, "" if it is one."""
    if annotator.reads == "logprobs":
        return defect(choice)
    text = reply_text(choice)
    if not text:
        return "empty"
    return "" if _preference(text, annotator) in (1, 2) else "unparsed"


def reply_text(choice: Choice) -> str:
    """What a judge wrote in the end: the arguments of the function that it calls, or its answer.

    Neither its thought nor a fence around the whole answer is a part of that.
    """
    calls = field_of(choice.get("message"), "tool_calls")
    if isinstance(calls, list) and calls:
        arguments = field_of(field_of(calls[0], "function"), "arguments")
        return arguments if isinstance(arguments, str) else ""
    said = answer_of(text_of(choice)).strip()
    fenced = FENCE.fullmatch(said)
    return fenced[1].strip() if fenced else said


def _preference(text: str, annotator: Annotator) -> object:
    """What the package's parser makes of a text, None where it makes nothing of it."""
    from alpaca_eval import completion_parsers

    parse = getattr(completion_parsers, annotator.parser)
    try:
        found = parse(text, **deepcopy(annotator.parser_arguments))  # one of them compiles them in place
    except Exception:  # a parser of another's text fails in any way
        return None
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    return found


def _fits(entry: dict[str, Any], folder: Path) -> bool:
    """Whether an annotator's configuration is of the kind that this module takes."""
    arguments, (parser, parsed) = entry.get("completions_kwargs", {}), _parser(entry)
    unknown = arguments.keys() - {"model_name", "logprobs", *SAMPLING, *FUNCTIONS}
    if entry.get("fn_completions") != "openai_completions" or entry.get("batch_size") != 1 or unknown:
        return False
    if not CHATML.fullmatch((folder / entry["prompt_template"]).read_text(encoding="utf-8").strip()):
        return False
    if parser == "logprob_parser":
        return list(parsed["denominator_tokens"]) == [*NAMES] and arguments.get("max_tokens") == 1
    return parser in TEXT_PARSERS


def _parser(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The parser's name and arguments; without a name it is the package's default."""
    return entry.get("fn_completion_parser") or "regex_parser", entry.get("completion_parser_kwargs") or {}


def _configs() -> Path:
    spec = importlib.util.find_spec("alpaca_eval")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("alpaca_eval is not installed: pip install alpaca_eval")
    return Path(spec.submodule_search_locations[0]) / "evaluators_configs"
