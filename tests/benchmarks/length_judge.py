"""A judge of Arena-Hard's prompts that goes by length."""

import re

from tests.servers.judge import Body

BLOCK = re.compile(r"<\|The Start of Assistant ([AB])'s Answer\|>\n(.*?)\n<\|The End of", re.DOTALL)


def answers_shown(body: Body) -> dict[str, str]:
    return dict(BLOCK.findall(body["messages"][-1]["content"]))


def by_length(body: Body) -> str:
    """The longer answer wins; twice as long, significantly."""
    shown = {name: len(text) for name, text in answers_shown(body).items()}
    if shown["A"] == shown["B"]:
        return "Both are as long: [[A=B]]"
    winner, loser = sorted(shown, key=lambda name: -shown[name])
    sign = ">>" if shown[winner] >= 2 * shown[loser] else ">"
    return f"<think>[[{loser}>{winner}]]?</think>Not [[A=B]]. My final verdict is [[{winner}{sign}{loser}]]."
