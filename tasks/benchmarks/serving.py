"""A judge at an address, for as long as it is needed: one that the run serves itself is started here."""

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.benchmarks.judge import Judge

__all__ = ["DEMO_RULE", "demo_judge", "reachable"]

DEMO_RULE = "demo:rule"


def demo_judge() -> Judge:
    """The rule that judges the demo family; it has no address until it is served."""
    from tasks.demo.judge import MODEL

    return Judge(model=MODEL, base_url=DEMO_RULE)


@contextmanager
def reachable(judge: Judge) -> Iterator[Judge]:
    """The judge with an endpoint that answers: the demo's is served on loopback for that long."""
    if judge.base_url != DEMO_RULE:
        yield judge
        return
    from tasks.demo.judge import serve_judge

    with serve_judge() as url:
        yield judge.model_copy(update={"base_url": url})
