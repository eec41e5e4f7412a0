"""Stage judge drift: compares the judge with its own earlier judgments of the same stored annotations."""

from tasks.benchmarks.anchor_sample import compared
from tasks.comparison.results import Anchors
from tasks.runtime.events import DRIFT, emit
from tasks.runtime.stage import stage
from tasks.stats.agreement import agreement_sentence
from tasks.stores.artefact import Store

__all__ = ["judge_drift"]


@stage("drift of {now.judge.model}")
def judge_drift(now: Anchors, store: str) -> None:
    """Emits an event when the judge rates the anchors differently than the last time it was measured."""
    measured = [
        Anchors.model_validate_json(content)
        for name in Store(store).names("anchors")
        if (content := Store(store).artefact("anchors", name).manifest())
    ]
    earlier = [
        anchors
        for anchors in measured
        if (anchors.source, anchors.judge) == (now.source, now.judge) and anchors.occasion < now.occasion
    ]
    if not earlier:
        return
    before = max(earlier, key=lambda anchors: anchors.occasion)
    agreement = compared(before.annotations(), now.annotations())
    if agreement.drifted:
        since = before.occasion or "it was first measured"
        emit(DRIFT, now.judge.model, f"the judge has drifted since {since}: {agreement_sentence(agreement)}")
