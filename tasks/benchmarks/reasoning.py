"""Which of vLLM's reasoning parsers a served judge needs: a thought is no part of its reply.

A conservative rule: the checkpoint's config has to name a kind of model that vLLM has a parser for,
and its chat template has to write the mark of a thought. Everything else is served without one.
"""

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.stores.source import Source

__all__ = ["NO_PARSER", "PARSERS", "reasoning_parser"]

NO_PARSER = "none"  # for a model whose replies shall stay whole
# the name of vLLM's parser by the config's "model_type", for models whose templates speak of <think>
PARSERS = {
    "deepseek_v3": "deepseek_r1",
    "glm4_moe": "glm45",
    "hunyuan_v1_moe": "hunyuan_a13b",
    "minimax_m2": "minimax_m2",
    "olmo3": "olmo3",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3",
    "qwen3_next": "qwen3",
    "seed_oss": "seed_oss",
}
# DeepSeek's distilled models and QwQ: an ordinary architecture whose every answer begins with a thought
DISTILLED = ("llama", "qwen2")
MARKS = {"seed_oss": "<seed:think>"}
OPENS = re.compile(r"add_generation_prompt.*<think>", re.DOTALL)
SWITCHED = re.compile(r"\bthinking\b")  # of DeepSeek-V3.1, which thinks where it is asked to
MOST_BYTES = 1 << 24
TEMPLATE, TOKENIZER = "chat_template.jinja", "tokenizer_config.json"


def reasoning_parser(named: str | None, source: "Source") -> str | None:
    """The parser that the user names, else that of the checkpoint; None for none.

    Raises:
        PermanentError, RetryableError: the checkpoint's small files cannot be read.
    """
    if named is not None:
        return None if named == NO_PARSER else named
    kind, template = _json(source, "config.json").get("model_type"), _template(source)
    if kind in DISTILLED:
        return "deepseek_r1" if OPENS.search(template) else None
    parser = PARSERS.get(str(kind))
    if parser is None or MARKS.get(str(kind), "<think>") not in template:
        return None
    return "deepseek_v3" if kind == "deepseek_v3" and SWITCHED.search(template) else parser


def _template(source: "Source") -> str:
    """The chat template's text; of several all of them, "" without one."""
    if TEMPLATE in source.files():
        return _bytes(source, TEMPLATE).decode("utf-8", errors="replace")
    found = _json(source, TOKENIZER).get("chat_template", "")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _json(source: "Source", name: str) -> dict[str, Any]:
    """A file's object; nothing where there is none: whether it is sound is for the engine to say."""
    try:
        content = json.loads(_bytes(source, name) if name in source.files() else b"")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _bytes(source: "Source", name: str) -> bytes:
    return source.read(name, 0, min(source.files()[name].size, MOST_BYTES))
