"""Stage judge: every answer of an arm compared with the reference's, or rated, by the judge."""

import json
import time
from pathlib import Path

from tasks.benchmarks.alpaca import ANNOTATIONS, judge_answers
from tasks.benchmarks.budget import Usage, dollars
from tasks.benchmarks.data import mt_bench_files
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.mt_bench import JUDGMENTS, judge_turns, read_lines
from tasks.comparison.judge_session import JudgeSession, judge_session
from tasks.core.values import Value, fingerprint
from tasks.generate import Generation
from tasks.generation.settings import Benchmark
from tasks.instructions import Instructions
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stores.artefact import MANIFEST, Artefact, Store

__all__ = ["Judgments", "judge"]

FILES: dict[Benchmark, str] = {"alpaca_eval": ANNOTATIONS, "mt_bench": JUDGMENTS}


class Judgments(Value):
    """All judgments of one generation: the manifest of their artefact.

    reference  sha256 of the reference outputs; of MT-Bench's questions
    seconds    that judging took, in the run that finished it
    usage      what was asked of the judge, over all tries
    dollars    what that cost, None where the judge's prices are not given
    n_total    items: instructions, or turns of questions; n_failed: those without a judgment
    """

    generation: Generation
    reference: str
    judge: Judge
    uri: str
    fingerprint: str
    seconds: float
    usage: Usage
    dollars: float | None
    n_total: int
    n_failed: int

    @property
    def benchmark(self) -> Benchmark:
        """Of whose form the judgments are."""
        return self.generation.benchmark

    def path(self) -> Path:
        """On this machine's disk: alpaca_eval's annotations in order, or FastChat's judgments."""
        artefact = Artefact(self.uri)
        return artefact.fetch(FILES[self.benchmark], artefact.work_dir())


@stage("judge {generation.benchmark} {generation.arm.label}")
def judge(
    generation: Generation,
    reference: Instructions | Generation,
    judge: Judge,
    store: str,
    rejudge_failed: bool = False,
) -> Judgments:
    """Judges an arm's answers: against a benchmark's reference outputs or another arm's, or each by itself.

    rejudge_failed  asks once more for the items that a finished judging has no judgment of

    Raises:
        InputError: the judge's API key is not set.
        PermanentError: the judge refuses the key, or too few answers could be judged.
        RetryableError: the endpoint does not answer; what was judged is kept.
    """
    against = reference.summary.answers_sha256 if isinstance(reference, Generation) else reference.sha256
    by = judge.fingerprint(generation.benchmark)
    name = fingerprint({"answers": generation.fingerprint, "reference": against, "judge": by})
    artefact = Store(store).artefact("judgments", name[:16])
    if finished := artefact.manifest():
        done = Judgments.model_validate_json(finished)
        if not (rejudge_failed and done.n_failed):
            run_logger().info("finished before")
            return done
        run_logger().info(f"{done.n_failed} of {done.n_total} items have no judgment: they are asked again")
        artefact.remove(MANIFEST)
    start = time.monotonic()
    try:
        with judge_session(artefact, judge, _requests(generation, judge)) as session:
            file = _judge(generation, reference, session)
    except BaseException:
        if finished:  # it is as good as it was
            artefact.seal(finished)
        raise
    if by_another := artefact.manifest():
        run_logger().info("another run has finished it meanwhile")
        return Judgments.model_validate_json(by_another)
    usage, (n_total, n_failed) = session.usage(), _counts(file)
    judgments = Judgments(
        generation=generation,
        reference=against,
        judge=judge,
        uri=artefact.uri,
        fingerprint=name,
        seconds=time.monotonic() - start,
        usage=usage,
        dollars=dollars(judge, usage),
        n_total=n_total,
        n_failed=n_failed,
    )
    if artefact.local is None:
        artefact.copy_in(file, file.name)
    artefact.seal(judgments.model_dump_json(indent=1).encode())
    _tell(judgments)
    return judgments


def _judge(generation: Generation, reference: Instructions | Generation, session: JudgeSession) -> Path:
    if generation.benchmark == "mt_bench":
        files = mt_bench_files()
        return judge_turns(
            generation.path(), files, session.endpoint, session.folder, advance=session.advance
        )
    return judge_answers(
        generation.path(), reference.path(), session.endpoint, session.folder, advance=session.advance
    )


def _requests(generation: Generation, judge: Judge) -> int:
    twice = judge.both_orders and generation.benchmark == "alpaca_eval"
    return generation.summary.count * (2 if twice else 1)


def _counts(file: Path) -> tuple[int, int]:
    """Items, and those without a judgment."""
    if file.name == JUDGMENTS:
        judged = [row["score"] for _, row in read_lines(file)]
    else:
        judged = [row["preference"] for row in json.loads(file.read_text())]
    return len(judged), judged.count(None)


def _tell(judgments: Judgments) -> None:
    if judgments.n_failed:
        run_logger().warning(
            f"{judgments.n_failed} of {judgments.n_total} items have no judgment and are in no figure; "
            "rejudge_failed asks for them again"
        )
