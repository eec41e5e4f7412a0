"""Two files of answers that exist: judged, compared and reported, without a model, a family or a run.

    judge_files(AnswerFiles(Path("a.json"), Path("b.json")), judge, Store("expo-store"))

AlpacaEval's model_outputs.json, MT-Bench's and Arena-Hard's JSON lines. Each file is judged once: its
judgments are an artefact of the store, by what was answered, what it was judged against, and the judge.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks import own_prompts
from tasks.benchmarks.budget import Usage, check_budget, dollars, split_budget
from tasks.benchmarks.figures import Counts
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.registry import find_benchmark, judge_fingerprint
from tasks.comparison.compare import Comparison, compare_as
from tasks.comparison.judge_session import judge_session, reopened, seal_judging
from tasks.comparison.results import FinishedJudging
from tasks.core.errors import InputError, PermanentError
from tasks.core.text_files import read_json_lines
from tasks.core.values import fingerprint
from tasks.stats.formatting import counts
from tasks.stores.artefact import Artefact, Store
from tasks.stores.disk import sha256_of

__all__ = ["AnswerFiles", "JudgedFile", "JudgedPair", "benchmark_of_answers", "judge_files"]


class AnswerFiles(NamedTuple):
    """Two files of answers to the same questions.

    reference  the questions, or AlpacaEval's reference outputs; None: the benchmark's own
    direct     the second is judged against the first, in both orders, in place of both against a reference
    """

    first: Path
    second: Path
    reference: Path | None = None
    direct: bool = False


class JudgedFile(FinishedJudging):
    """One file of answers, judged: the manifest of its artefact.

    answers  its sha256
    """

    benchmark: str
    answers: str


class JudgedPair(NamedTuple):
    """Both files with their judgments on this machine's disk, and the comparison."""

    benchmark: Benchmark
    comparison: Comparison
    files: tuple[JudgedFile, JudgedFile]
    judgments: tuple[Path, Path]


def benchmark_of_answers(files: AnswerFiles) -> Benchmark:
    """The benchmark whose form both files have; judged directly, that of the prompts in them.

    Raises:
        InputError: a file has none of the forms, or the two have different ones.
    """
    names = [_form_of(path) for path in (files.first, files.second)]
    if names[0] != names[1]:
        titles = [find_benchmark(name).measure.title for name in names]
        raise InputError(
            f"{files.first}, {files.second}: the first has {titles[0]}'s form, the second {titles[1]}'s; "
            "give two of a kind"
        )
    benchmark = find_benchmark(names[0])
    if files.direct and benchmark.judging != "pairwise":
        raise InputError(f"--direct: {benchmark.measure.title} rates each answer by itself; leave it out")
    if files.direct and benchmark.form == "prompts":
        return find_benchmark(own_prompts.name_of(files.first))
    return benchmark


def judge_files(
    files: AnswerFiles,
    judge: Judge,
    store: Store,
    *,
    advance: Callable[[int], None] = lambda _: None,
    again: bool = False,
) -> JudgedPair:
    """Judges both files, goes on where an earlier try stopped, and compares them.

    advance  gets the number of requests that are done
    again    asks once more for the items whose judgment a finished judging lacks, or that says nothing

    Raises:
        InputError: the files do not answer the same questions; found before anybody is asked.
        OverBudgetError: judging passes the judge's limits.
        RetryableError, PermanentError: the judge does not answer, or too little was judged.
    """
    benchmark = benchmark_of_answers(files)
    if files.direct:
        reference, judge = files.first, judge.model_copy(update={"both_orders": True})
    else:
        reference = files.reference or benchmark.questions()
    for path in (files.first, files.second):
        benchmark.require_answers(path, reference)
    share = _within_limits(benchmark, judge, reference, files)
    judged, paths = [], []
    for path in (files.first, files.second):
        found, judgments = _judge(path, reference, benchmark, share, store, advance, again)
        _require_judged(path, benchmark.count(judgments), judge)  # before the second is paid for
        judged.append(found)
        paths.append(judgments)
    comparison = compare_as(benchmark, paths[0], paths[1], min_judged=judge.min_judged)
    return JudgedPair(benchmark, comparison, (judged[0], judged[1]), (paths[0], paths[1]))


def expected_usage(benchmark: Benchmark, judge: Judge, reference: Path, files: AnswerFiles) -> Usage:
    """What judging both will use: directly, the first is the reference and costs nothing."""
    questions = None if files.direct and benchmark.form == "prompts" else reference
    usage = benchmark.expected_usage(judge, questions) or Usage()
    return usage if files.direct else usage.times(2)


def _within_limits(benchmark: Benchmark, judge: Judge, reference: Path, files: AnswerFiles) -> Judge:
    """The judge for one of the files, with its part of the limits, once both together keep to them."""
    check_budget(judge, Usage(), expected_usage(benchmark, judge, reference, files))
    return judge if files.direct else split_budget(judge, 2)


def _judge(
    answers: Path,
    reference: Path,
    benchmark: Benchmark,
    judge: Judge,
    store: Store,
    advance: Callable[[int], None],
    again: bool,
) -> tuple[JudgedFile, Path]:
    digests = sha256_of(answers), sha256_of(reference)
    by = judge_fingerprint(judge, benchmark.name)
    name = fingerprint({"answers": digests[0], "reference": digests[1], "judge": by})
    artefact = store.artefact("judged-answers", name[:16])
    finished = artefact.manifest()
    if finished and not (again and _lacking(benchmark.count(_file(artefact, benchmark)))):
        found = JudgedFile.model_validate_json(finished)
        advance(benchmark.requests(found.n_total, judge))
        return found, _file(artefact, benchmark)
    start = time.monotonic()
    with reopened(artefact, finished), judge_session(artefact, judge, advance) as session:
        judgments = benchmark.judge(
            answers, reference, session.endpoint, session.folder, advance=session.advance, again=again
        )
    usage, counted = session.usage(), benchmark.count(judgments)
    found = JudgedFile(
        benchmark=benchmark.name,
        answers=digests[0],
        reference=digests[1],
        judge=judge,
        fingerprint=name,
        seconds=time.monotonic() - start,
        usage=usage,
        dollars=dollars(judge, usage),
        n_total=counted.n_total,
        n_failed=counted.n_failed,
    )
    seal_judging(artefact, judgments, found)
    return found, _file(artefact, benchmark)


def _lacking(counted: Counts) -> int:
    """Items without a judgment, and those whose judgment says nothing."""
    return counted.n_failed + counted.n_unparsed


def _require_judged(answers: Path, counted: Counts, judge: Judge) -> None:
    judged = counted.n_total - _lacking(counted)
    if judged < judge.min_judged * counted.n_total:
        raise PermanentError(
            f"{answers}: {judged} of {counted.n_total} items have a judgment and a figure needs "
            f"{judge.min_judged:.0%} ({counts(counted.causes)}); ask for the rest once more (--rejudge "
            "failed), choose another judge, or a lower share (--min-judged)"
        )


def _file(artefact: Artefact, benchmark: Benchmark) -> Path:
    return artefact.fetch(benchmark.judgments, artefact.work_dir())


def _form_of(path: Path) -> str:
    """The benchmark whose answers a file looks like; its reader says what is wrong with the rest."""
    if path.suffix == ".json":
        return "alpaca_eval"
    row: Mapping[str, object] = read_json_lines(path)[0][1]
    if "choices" in row:
        return "mt_bench"
    if "messages" in row:
        return "arena_hard"
    raise InputError(
        f"{path}: answers of no form that is known; give AlpacaEval's model_outputs.json, or JSON lines of "
        "MT-Bench (question_id, choices) or of Arena-Hard (uid, messages)"
    )
