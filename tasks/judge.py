"""Stage judge: every answer of an arm compared with the reference's, or rated, by the judge."""

import time
from collections.abc import Mapping
from pathlib import Path

from tasks.benchmarks.budget import Usage, dollars
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import find_benchmark, judge_fingerprint
from tasks.comparison.instructions import Instructions
from tasks.comparison.judge_session import judge_needs, judge_session, reopened, seal_judging
from tasks.comparison.results import Generation, Judgments
from tasks.core.values import fingerprint
from tasks.runtime.judging import judge_limits
from tasks.runtime.progress import Progress, run_logger
from tasks.runtime.recorder import begin_work
from tasks.runtime.run_names import arms_title
from tasks.runtime.stage import stage
from tasks.stats.formatting import counts
from tasks.stores.artefact import Artefact, Store

__all__ = ["judge"]


def _run_name(generation: Generation) -> str:
    return f"judge {generation.benchmark} {generation.arm.name}, {arms_title([generation.arm])}"


@stage(_run_name)
def judge(
    generation: Generation,
    reference: Instructions | Generation,
    judge: Judge,
    store: str,
    rejudge_failed: bool = False,
) -> Judgments:
    """Judges an arm's answers: against a benchmark's reference outputs or another arm's, or each by itself.

    rejudge_failed  asks once more for the items whose judgment a finished judging lacks, or that says nothing

    Raises:
        InputError: the judge's API key is not set.
        PermanentError: the judge refuses the key, or too few answers could be judged.
        RetryableError: the endpoint does not answer; what was judged is kept.
    """
    against = reference.summary.answers_sha256 if isinstance(reference, Generation) else reference.sha256
    by = judge_fingerprint(judge, generation.benchmark)
    name = fingerprint({"answers": generation.fingerprint, "reference": against, "judge": by})
    artefact = Store(store).artefact("judgments", name[:16])
    finished = artefact.manifest()
    if finished and (done := _finished(finished, rejudge_failed)):
        return done
    start = time.monotonic()
    with reopened(artefact, finished):
        file, usage = _ask(generation, reference, judge, artefact, rejudge_failed)
    if by_another := artefact.manifest():
        run_logger().info("another run has finished it meanwhile")
        return Judgments.model_validate_json(by_another)
    counted = find_benchmark(generation.benchmark).count(file)
    judgments = Judgments(
        generation=generation,
        reference=against,
        judge=judge,
        uri=artefact.uri,
        fingerprint=name,
        seconds=time.monotonic() - start,
        usage=usage,
        dollars=dollars(judge, usage),
        n_total=counted.n_total,
        n_failed=counted.n_failed,
        median_mass=counted.median_mass,
    )
    seal_judging(artefact, file, judgments)
    _warn(judgments, counted.causes)
    return judgments


def _finished(manifest: bytes, rejudge_failed: bool) -> Judgments | None:
    """What an earlier run finished; None where items without a judgment are to be asked again."""
    done = Judgments.model_validate_json(manifest)
    before = find_benchmark(done.benchmark).count(done.path()) if rejudge_failed else None
    if not (before and before.n_failed + before.n_unparsed):
        run_logger().info("finished before")
        return done
    run_logger().info(
        f"of {done.n_total} items {before.n_failed} have no judgment and {before.n_unparsed} one that "
        "says nothing: they are asked again"
    )
    return None


def _ask(
    generation: Generation,
    reference: Instructions | Generation,
    judge: Judge,
    artefact: Artefact,
    again: bool,
) -> tuple[Path, Usage]:
    """The file of judgments on this machine's disk, and what was asked of the judge for it over all tries."""
    benchmark = find_benchmark(generation.benchmark)
    progress = Progress(benchmark.requests(generation.summary.count, judge), "judgments")
    with judge_limits(*judge_needs(judge)), judge_session(artefact, judge, progress.advance) as session:
        begin_work()
        file = benchmark.judge(
            generation.path(),
            reference.path(),
            session.endpoint,
            session.folder,
            advance=session.advance,
            again=again,
        )
    return file, session.usage()


def _warn(judgments: Judgments, causes: Mapping[str, int]) -> None:
    if judgments.n_failed:
        run_logger().warning(
            f"{judgments.n_failed} of {judgments.n_total} items have no judgment and are in no figure "
            f"({counts(causes)}); rejudge_failed asks for them again"
        )
