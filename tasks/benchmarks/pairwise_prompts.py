"""What a judge is shown of two answers: Arena-Hard v2's prompts, and how its verdict is read.

The texts, the form of the user's message and the patterns are those of lmarena/arena-hard-auto at 196f6b82
(`utils/judge_utils.py`, `config/arena-hard-v2.0.yaml`, `gen_judgment.py`; Apache-2.0).
"""

import re

from tasks.benchmarks.mt_bench_judge import answer_of
from tasks.benchmarks.pairwise_files import LABELS

__all__ = ["CREATIVE", "messages_of", "system_prompt", "verdict_of"]

CREATIVE = "creative_writing"
PATTERNS = (re.compile(r"\[\[([AB<>=]+)\]\]"), re.compile(r"\[([AB<>=]+)\]"))

_JUDGE = (
    "Please act as an impartial judge and evaluate the quality of the responses provided by two AI "
    "assistants to the user prompt displayed below. You will be given assistant A's answer and assistant B's "
    "answer. Your job is to evaluate which assistant's answer is better."
)
_OWN_ANSWER = (
    "Begin your evaluation by generating your own answer to the prompt. You must provide your answers before "
    "judging any answers."
)
_COMPARE = "When evaluating the assistants' answers, compare both assistants' answers{with_yours}. "
_MISTAKES = "You must identify and correct any mistakes or inaccurate information."
_HELPFUL = (
    "Then consider if the assistant's answers are helpful, relevant, and concise. Helpful means the answer "
    "correctly responds to the prompt or follows the instructions. Note when user prompt has any ambiguity "
    "or more than one interpretation, it is more helpful and appropriate to ask for clarifications or more "
    "information from the user than providing an answer based on assumptions. Relevant means all parts of "
    "the response closely connect or are appropriate to what is being asked. Concise means the response is "
    "clear and not verbose or excessive."
)
_CREATIVITY = (
    "Then consider the creativity and novelty of the assistant's answers when needed. Finally, identify any "
    "missing important information in the assistants' answers that would be beneficial to include when "
    "responding to the user prompt."
)
_VERDICT = (
    "After providing your explanation, you must output only one of the following choices as your final "
    "verdict with a label:\n\n1. Assistant A is significantly better: [[A>>B]]\n2. Assistant A is slightly "
    "better: [[A>B]]\n3. Tie, relatively the same: [[A=B]]\n4. Assistant B is slightly better: [[B>A]]\n5. "
    'Assistant B is significantly better: [[B>>A]]\n\nExample output: "My final verdict is tie: [[A=B]]".'
)
_REST = (_HELPFUL, _CREATIVITY, _VERDICT)
_COMPARE_WITH_OWN = _COMPARE.format(with_yours=" with your answer") + _MISTAKES
SYSTEM = "\n\n".join((_JUDGE, _OWN_ANSWER, _COMPARE_WITH_OWN, *_REST))
SYSTEM_CREATIVE = "\n\n".join((_JUDGE, _COMPARE.format(with_yours="") + _MISTAKES, *_REST))


def system_prompt(category: str) -> str:
    """The judge's instructions: in creative writing it gives no answer of its own first."""
    return SYSTEM_CREATIVE if category == CREATIVE else SYSTEM


def messages_of(category: str, prompt: str, answer_a: str, answer_b: str) -> list[dict[str, str]]:
    """What one game asks."""
    user = (
        f"<|User Prompt|>\n{prompt}\n\n"
        f"<|The Start of Assistant A's Answer|>\n{answer_a}\n<|The End of Assistant A's Answer|>\n\n"
        f"<|The Start of Assistant B's Answer|>\n{answer_b}\n<|The End of Assistant B's Answer|>"
    )
    return [{"role": "system", "content": system_prompt(category)}, {"role": "user", "content": user}]


def verdict_of(reply: str) -> str | None:
    """The last label of a reply, [[A>B]] before [A>B]; None where the last is no label, or there is none.

    What a judge thought before it answered is no part of the reply.
    """
    said = answer_of(reply).upper()
    for pattern in PATTERNS:
        if found := pattern.findall(said):
            return found[-1] if found[-1] in LABELS else None
    return None
