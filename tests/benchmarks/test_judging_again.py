"""The stage judge once more: failed items, arms with too few answers, a machine that was lost."""

from pathlib import Path
from uuid import uuid4

import pytest

from tasks.benchmarks.data import import_from
from tasks.benchmarks.registry import data_files, find_benchmark
from tasks.comparison.arm import Arm
from tasks.comparison.decoding import ArmEndpoints
from tasks.core.errors import PermanentError, RetryableError
from tasks.generate import generate
from tasks.generation.settings import GenerationSettings
from tasks.instructions import instructions as find
from tasks.judge import judge as stage
from tasks.stores.artefact import MANIFEST, Artefact
from tests.benchmarks.answers import LONG
from tests.benchmarks.judged_run import RECIPE, Run
from tests.servers.judge import JudgeServer, question_of
from tests.servers.s3 import BUCKET, S3Server


def test_only_failed_items_are_judged_again(run: Run, server: JudgeServer) -> None:
    server.fail("400", on={"question 7"})
    first = run.judged("expo", LONG)
    assert (first.n_total, first.n_failed) == (30, 1)
    assert run.judged("expo", LONG) == first and len(server.bodies) == 30
    server.bodies.clear()
    assert run.judged("expo", LONG, rejudge=True).n_failed == 1, "refused once more"
    server.fail(None)
    again = run.judged("expo", LONG, rejudge=True)
    assert [question_of(body) for body in server.bodies] == ["question 7"] * 2
    assert again.n_failed == 0 and again.uri == first.uri
    assert run.judged("expo", LONG) == again, "the next run finds the better one"
    assert len(server.bodies) == 2


def test_ratings_that_say_nothing_are_asked_for_again(run: Run, server: JudgeServer, fetched: Path) -> None:
    import_from(fetched, data_files())
    asked = find.fn("mt_bench")
    server.says = lambda body: "no idea" if "mute" in body["messages"][1]["content"] else "[[5]]"
    generation = run.generation("expo", ["fine"] * 158 + ["fine", "mute"], "mt_bench")
    first = stage.fn(generation, asked, run.judge, run.store)
    server.bodies.clear()
    again = stage.fn(generation, asked, run.judge, run.store, True)
    assert len(server.bodies) == run.judge.rounds, "the unparsed one alone"
    assert (again.n_failed, again.uri) == (0, first.uri), "what is unparsed once more is what it was"
    server.says = lambda _: "[[9]]"
    server.bodies.clear()
    stage.fn(generation, asked, run.judge, run.store, True)
    assert len(server.bodies) == 1
    score = find_benchmark("mt_bench").score(again.path())
    assert score.metrics().not_judged == {} and score.metrics().second_turn == pytest.approx(
        (79 * 5 + 9) / 80
    )


def test_judging_again_in_vain_leaves_what_there_was(run: Run, server: JudgeServer) -> None:
    server.fail("400", on={"question 7"})
    first = run.judged("expo", LONG)
    server.fail("401")
    with pytest.raises(PermanentError, match="refuses the key"):
        run.judged("expo", LONG, rejudge=True)
    assert run.judged("expo", LONG) == first


def test_an_arm_with_too_many_failures_is_refused_before_its_judge_is_paid(
    run: Run, server: JudgeServer
) -> None:
    """Also where another run has accepted it: what is sealed is held against this run's share."""
    server.says = lambda body: f"about {question_of(body)}"
    server.fail("403", on={"question 7", "question 8"})
    arm, settings = Arm(name="original", recipe=RECIPE), GenerationSettings(batch_size=10)
    at = ArmEndpoints(base_url=server.url, original="original", expo="expo")
    for _ in range(2):
        with pytest.raises(PermanentError, match=r"original: 2 of 30 answers.*2 refused.*more than the 5%"):
            generate.fn("answers", (arm,), run.asked, settings, run.store, at)
    (made,) = generate.fn("answers", (arm,), run.asked, settings, run.store, at, 0.1)
    assert made.summary.failures == {"refused": 2} and len(server.bodies) == 30
    with pytest.raises(PermanentError, match="more than the 5%"):
        generate.fn("answers", (arm,), run.asked, settings, run.store, at)
    assert len(server.bodies) == 30


@pytest.mark.slow
def test_what_was_paid_for_on_a_lost_machine_is_found_on_another(
    run: Run, server: JudgeServer, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.comparison.judge_session.KEEP_SECONDS", 0)
    there = run._replace(
        store=f"s3://{BUCKET}/{uuid4().hex}",
        judge=run.judge.model_copy(update={"retries": 0, "rounds": 1, "max_concurrency": 1}),
    )
    generation = there.generation("expo", LONG, "alpaca_eval")
    server.fail("500", on={f"question {index}" for index in range(10)})
    with pytest.raises(RetryableError):
        stage.fn(generation, there.asked, there.judge, there.store)
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "another machine"))
    server.fail(None)
    server.bodies.clear()
    judged = stage.fn(generation, there.asked, there.judge, there.store)
    assert len(server.bodies) == 10 and judged.n_failed == 0
    assert judged.usage.requests == 30

    def finish_elsewhere() -> bool:
        """While this machine is judging, another one ends the same judging."""
        if store.manifest() is None:
            store.write("annotations.json", b"theirs")
            store.seal(judged.model_dump_json().encode())
        return True

    store = Artefact(judged.uri)
    store.remove(MANIFEST)
    for lost in ("journal.jsonl", "annotations.json"):
        store.remove(lost)
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "a third machine"))
    server.prefers = lambda *_: finish_elsewhere()
    assert stage.fn(generation, there.asked, there.judge, there.store) == judged
    assert store.read("annotations.json") == b"theirs"
