"""Stage anchors: judges a sample of stored annotations again, to measure the judge against theirs."""

import time
from pathlib import Path

from tasks.benchmarks.alpaca_judge import ANNOTATIONS
from tasks.benchmarks.anchor_sample import SAMPLE, measure
from tasks.benchmarks.budget import dollars
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import judge_fingerprint
from tasks.benchmarks.table import DEFAULT
from tasks.comparison.judge_session import judge_needs, judge_session
from tasks.comparison.results import Anchors
from tasks.core.errors import InputError
from tasks.core.values import fingerprint
from tasks.runtime.judging import judge_limits
from tasks.runtime.progress import Progress, run_logger
from tasks.runtime.stage import stage
from tasks.stats.agreement import agreement_sentence
from tasks.stores.artefact import Store
from tasks.stores.disk import sha256_of

__all__ = ["anchors"]


@stage("anchors of {judge.model}")
def anchors(annotations: str, judge: Judge, store: str, sample: int = SAMPLE, occasion: str = "") -> Anchors:
    """Judges a sample of an annotation file's pairs again; once for each judge, file and occasion.

    Raises:
        InputError: there is no such file, or it is not of AlpacaEval's form.
        RetryableError, PermanentError: as in the stage judge; what was judged is kept.
    """
    path = Path(annotations).expanduser().resolve()
    if not path.is_file():
        raise InputError(
            f"anchors {annotations!r}: no such file; give stored annotations of AlpacaEval's form"
        )
    source = sha256_of(path)
    name = fingerprint(
        {
            "anchors": source,
            "judge": judge_fingerprint(judge, DEFAULT),
            "sample": sample,
            "occasion": occasion,
        }
    )
    artefact = Store(store).artefact("anchors", name[:16])
    if content := artefact.manifest():
        run_logger().info("measured before")
        return Anchors.model_validate_json(content)
    start = time.monotonic()
    progress = Progress(sample, "judgments")
    with judge_limits(*judge_needs(judge)), judge_session(artefact, judge, progress.advance) as session:
        found = measure(path, session.endpoint, session.folder, sample=sample, advance=session.advance)
    if by_another := artefact.manifest():
        return Anchors.model_validate_json(by_another)
    usage = session.usage()
    measured = Anchors(
        source=source,
        judge=judge,
        occasion=occasion,
        uri=artefact.uri,
        fingerprint=name,
        seconds=time.monotonic() - start,
        usage=usage,
        dollars=dollars(judge, usage),
        agreement=found,
    )
    if artefact.local is None:
        artefact.copy_in(session.folder / ANNOTATIONS, ANNOTATIONS)
    artefact.seal(measured.model_dump_json(indent=1).encode())
    run_logger().info(agreement_sentence(found))
    return measured
