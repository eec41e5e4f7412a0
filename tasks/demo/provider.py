"""The demo's checkpoints, instructions and judge, as the registry's entry names them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.core.errors import InputError

__all__ = ["find", "is_made", "serve_judge"]

FILES = {
    "demo:aligned": "aligned",
    "demo:sft": "sft",
    "demo:instructions": "instructions",
    "demo:alphas": "alphas",
}
RULE = "demo:rule"


def is_made(uri: str) -> bool:
    """Whether the cache has the trained pair."""
    from tasks.demo.checkpoints import is_trained

    return uri in FILES and is_trained()


def find(uri: str) -> Path:
    """A checkpoint's folder, or a file of reference outputs (the SFT model's); trains the pair if need be.

    Raises:
        InputError: another name.
    """
    if uri not in FILES:
        raise InputError(f"{uri}: not of the demo, which has {', '.join(FILES)}")
    from tasks.demo.checkpoints import prepare

    path: Path = getattr(prepare(), FILES[uri])
    return path


@contextmanager
def serve_judge(uri: str) -> Iterator[str]:
    """Serves the rule behind an endpoint on loopback.

    Raises:
        InputError: another name.
    """
    if uri != RULE:
        raise InputError(f"{uri}: the demo's judge is {RULE}")
    from tasks.demo.rule_judge import serve_judge as serve_rule

    with serve_rule() as url:
        yield url
