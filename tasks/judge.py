"""Stage judge: every answer of an arm compared with the reference's, by the judge."""

import time
from pathlib import Path

from tasks.benchmarks.alpaca import ANNOTATIONS, JOURNAL, judge_answers
from tasks.benchmarks.budget import Usage, dollars
from tasks.benchmarks.journal import Journal
from tasks.benchmarks.judge import Judge
from tasks.benchmarks.serving import reachable
from tasks.generate import Generation
from tasks.instructions import Instructions
from tasks.progress import Progress, run_logger
from tasks.stage import stage
from tasks.stores.artefact import Artefact, Store
from tasks.values import Value, fingerprint
from tasks.workplace import workplace

__all__ = ["Judgments", "judge"]


class Judgments(Value):
    """All judgments of one generation against one reference: the manifest of their artefact.

    reference  sha256 of the reference outputs
    seconds    that judging took, in the run that finished it
    usage      what was asked of the judge, over all tries
    dollars    what that cost, None where the judge's prices are not given
    """

    generation: Generation
    reference: str
    judge: Judge
    uri: str
    fingerprint: str
    seconds: float
    usage: Usage
    dollars: float | None

    def annotations(self) -> Path:
        """alpaca_eval's annotations on this machine's disk, one for each instruction, in order."""
        artefact = Artefact(self.uri)
        return artefact.fetch(ANNOTATIONS, workplace(artefact))


@stage("judge {generation.arm.label}")
def judge(
    generation: Generation, reference: Instructions | Generation, judge: Judge, store: str
) -> Judgments:
    """Judges an arm's answers against a benchmark's reference outputs, or against another arm's answers.

    Raises:
        InputError: the judge's API key is not set.
        PermanentError: the judge refuses the key, or too few answers could be judged.
        RetryableError: the endpoint does not answer; what was judged is kept.
    """
    against = reference.summary.answers_sha256 if isinstance(reference, Generation) else reference.sha256
    name = fingerprint(
        {"answers": generation.fingerprint, "reference": against, "judge": judge.fingerprint("alpaca_eval")}
    )
    artefact = Store(store).artefact("judgments", name[:16])
    if content := artefact.manifest():
        run_logger().info("finished before")
        return Judgments.model_validate_json(content)
    start = time.monotonic()
    progress = Progress(generation.summary.count, "judgments")
    with reachable(judge) as endpoint:
        judge_answers(
            generation.path(), reference.path(), endpoint, workplace(artefact), advance=progress.advance
        )
    with Journal(workplace(artefact) / JOURNAL) as journal:
        usage = journal.usage
    judgments = Judgments(
        generation=generation,
        reference=against,
        judge=judge,
        uri=artefact.uri,
        fingerprint=name,
        seconds=time.monotonic() - start,
        usage=usage,
        dollars=dollars(judge, usage),
    )
    if artefact.local is None:
        artefact.copy_in(workplace(artefact) / ANNOTATIONS, ANNOTATIONS)
    artefact.seal(judgments.model_dump_json(indent=1).encode())
    return judgments
