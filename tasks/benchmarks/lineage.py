"""Whether a judge and the models that it judges come of one house: the same maker, or the same parent.

Judges favor their own kind (lmarena/arena-hard-auto#10), so what is known stands beside the figure. It is
known by names only: hub ids, model names, architectures. No warning is no proof of independence.
"""

import re
from collections.abc import Iterable

from tasks.benchmarks.judge_config import Judge

__all__ = ["judge_names", "lineage", "shared_lineage"]

# models and parents by their names, and who made them
HOUSES = {
    "OpenAI": r"\b(gpt|chatgpt|text-davinci|o[134])\b",
    "Anthropic": r"\bclaude",
    "Google": r"\b(gemini|gemma|palm)",
    "Meta (Llama)": r"llama|tulu-2",
    "Qwen": r"\b(qwen|qwq)",
    "Mistral": r"mistral|mixtral|ministral|magistral|zephyr",
    "DeepSeek": r"deepseek",
    "InternLM": r"internlm",
    "Microsoft (Phi)": r"\bphi\b",
}
ORGANIZATION = re.compile(r"([\w.-]+)/[\w.-]+(@[\w./-]+)?")  # of a hub id


def lineage(names: Iterable[str]) -> frozenset[str]:
    """The houses of models by these names: makers, parents, and the organizations of hub ids."""
    found = set()
    for name in names:
        plain = name.casefold().replace("_", "-")
        found |= {house for house, pattern in HOUSES.items() if re.search(pattern, plain)}
        if "://" not in name and (of_hub := ORGANIZATION.fullmatch(name)):
            found.add(of_hub[1])
    return frozenset(found)


def judge_names(judge: Judge) -> tuple[str, ...]:
    """What a judge is called, and the checkpoint that is served as it."""
    return (judge.model, judge.serve.checkpoint) if judge.serve else (judge.model,)


def shared_lineage(judge: Iterable[str], models: Iterable[str]) -> str:
    """A warning where a judge shares a house with the models, by their names; "" where none is known."""
    judges = tuple(judge)
    shared = lineage(judges) & lineage(models)
    if not shared:
        return ""
    houses = ", ".join(sorted(shared))
    return (
        f"{judges[0]} shares a parent or a maker with what it judges ({houses}): such judges tend to favor "
        "their own kind"
    )
