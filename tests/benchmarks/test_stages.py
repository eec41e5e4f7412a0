"""The stages judge and verdict on hand-made answers: both benchmarks, failed items, lost machines."""

import html
import json
import math
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tasks.benchmarks.budget import Usage, budget_share, describe_usage, split_budget
from tasks.benchmarks.data import import_from
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import data_files, find_benchmark, judge_fingerprint
from tasks.comparison.arm import Arm, ArmName
from tasks.comparison.decoding import ArmEndpoints
from tasks.comparison.instructions import Instructions
from tasks.comparison.judge_session import within_budget
from tasks.comparison.judges import find_judges
from tasks.comparison.results import Generation, Judgments
from tasks.core.errors import InputError, PermanentError, RetryableError
from tasks.core.families import Family, Published, find_family
from tasks.generate import generate
from tasks.generation.answers import answers_file
from tasks.generation.settings import GenerationSettings, GenerationSummary
from tasks.instructions import instructions as find
from tasks.judge import judge as stage
from tasks.reports.html import render_html
from tasks.reports.markdown import render_markdown
from tasks.reports.run_report import FamilyReport, RunReport
from tasks.reports.stored import FAMILY_REPORT
from tasks.stores.artefact import MANIFEST, Artefact, Store
from tasks.stores.disk import sha256_of
from tasks.stores.source import Checkpoint
from tasks.verdict import verdict
from tasks.weights.folder import model_artefact
from tasks.weights.manifest import Manifest
from tasks.weights.recipe import Recipe
from tests.benchmarks.conftest import write_outputs
from tests.servers.judge import JudgeServer, question_of
from tests.servers.s3 import BUCKET, S3Server

LONG = [f"a much longer answer {index}" for index in range(30)]
SHORT = [f"short {index}" for index in range(30)]
RECIPE = Recipe(
    aligned=Checkpoint(uri="org/aligned", commit="a" * 40),
    sft=Checkpoint(uri="org/sft", commit="b" * 40),
    alpha=0.3,
)
LOW_MASS = {  # the two names have a fifth of the probability
    "index": 0,
    "finish_reason": "length",
    "message": {"role": "assistant", "content": "Sure"},
    "logprobs": {
        "content": [
            {"top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in (("Sure", 0.8), ("m", 0.2))]}
        ]
    },
}
PUBLISHED = Published(win_rate=(10, 11), lc_win_rate=(10, 11), mt_bench=(7, 7.1))


class Run(NamedTuple):
    """One store, its judge, and 30 instructions with short reference outputs."""

    store: str
    judge: Judge
    asked: Instructions

    def generation(self, name: ArmName, outputs: list[str], benchmark: str, seed: int = 42) -> Generation:
        """A finished generation with these outputs; MT-Bench's, question by question, in pairs of turns."""
        artefact = Store(self.store).artefact("generations", f"{name}-{benchmark}-{seed}")
        part = artefact.scratch() / "answers"
        if benchmark == "alpaca_eval":
            write_outputs(part, outputs, name)
        else:
            part.write_text("".join(_line(i, outputs, name) for i in range(len(outputs) // 2)))
        summary = _summary(outputs, sha256_of(part))
        artefact.put(part, answers_file(benchmark, find_benchmark(benchmark).form))
        return Generation(
            arm=Arm(name=name, recipe=RECIPE),
            uri=artefact.uri,
            fingerprint=summary.answers_sha256,
            settings=GenerationSettings(),
            summary=summary,
            benchmark=benchmark,
        )

    def judged(self, name: ArmName, outputs: list[str], rejudge: bool = False, seed: int = 42) -> Judgments:
        generation = self.generation(name, outputs, "alpaca_eval", seed)
        return stage.fn(generation, self.asked, self.judge, self.store, rejudge)


def _line(index: int, outputs: list[str], name: str) -> str:
    turns = outputs[2 * index : 2 * index + 2]
    return json.dumps({"question_id": 81 + index, "model_id": name, "choices": [{"turns": turns}]}) + "\n"


def _summary(outputs: list[str], digest: str) -> GenerationSummary:
    return GenerationSummary(
        job="job",
        count=len(outputs),
        empty=0,
        truncated=3,
        without_end=3,
        repeating=0,
        mean_characters=sum(map(len, outputs)) / len(outputs),
        mean_tokens=5,
        seconds=1,
        tokens_per_second=5,
        engine="hand-made",
        chat_template_sha256="c" * 64,
        answers_sha256=digest,
        stop_token_ids=(),
        first_prompt_ids=(1,),
        finish_reasons={},
    )


@pytest.fixture
def run(tmp_path: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    reference = write_outputs(tmp_path / "reference.json", SHORT, "reference")
    return Run(str(tmp_path / "store"), judge, find.fn(str(reference)))


def _report(uri: str) -> FamilyReport:
    return FamilyReport.model_validate_json(Artefact(uri).read(FAMILY_REPORT) or b"")


def _entry(**changes: Any) -> Family:  # noqa: ANN401
    return find_family("zephyr-7b-beta").model_copy(
        update={"name": "mine", "published": PUBLISHED, **changes}
    )


@pytest.mark.slow
def test_both_benchmarks_give_a_verdict_each(run: Run, server: JudgeServer, fetched: Path) -> None:
    """MT-Bench's second arm is rated 8 where the first is rated 6; AlpacaEval's is longer."""
    import_from(fetched, data_files())
    asked = find.fn("mt_bench")
    server.says = lambda body: f"[[{8 if 'MARKED' in body['messages'][1]['content'] else 6}]]"
    original = run.generation("original", ["an answer"] * 160, "mt_bench")
    expo = run.generation("expo", ["an answer", "MARKED"] * 80, "mt_bench")
    rated = [stage.fn(generation, asked, run.judge, run.store) for generation in (original, expo)]
    assert [(judgments.n_total, judgments.n_failed) for judgments in rated] == [(160, 0)] * 2
    won = [run.judged("original", SHORT[::-1]), run.judged("expo", LONG)]
    made = Manifest(
        recipe=RECIPE,
        fingerprint=RECIPE.fingerprint,
        code_version="0.1.0",
        files=(),
        inputs=(),
        skipped=("model.rotary_emb.inv_freq",),
        notices=("config.json: rope_theta is 1 on the aligned side, 2 on the SFT side, which was allowed",),
        statistics=(),
    )
    model_artefact(Store(run.store), RECIPE).seal(made.model_dump_json().encode())
    report = _report(verdict.fn(_entry(), RECIPE, (won[0], rated[0], won[1], rated[1]), (), run.store))
    skipped = "skipped of the SFT side: model.rotary_emb.inv_freq"
    assert report.notices == (*made.notices, skipped), "how the pair was matched"

    by_name = {verdict.benchmark: verdict for verdict in report.verdicts}
    assert list(by_name) == ["alpaca_eval", "mt_bench"]
    rating = by_name["mt_bench"]
    assert (rating.original.score, rating.expo.score) == (6, 7)
    assert (rating.expo.first_turn, rating.expo.second_turn) == (6, 8)
    assert (
        rating.expo.categories == dict.fromkeys(rating.expo.categories, 7)
        and len(rating.expo.categories) == 8
    )
    assert rating.difference.n == 80 and rating.n_judged == 160, "questions are resampled, not turns"
    assert (rating.outcome, rating.unit) == ("better", "rating points")
    assert rating.published and rating.published.score == (7, 7.1)
    assert by_name["alpaca_eval"].unit == "percentage points"
    assert by_name["alpaca_eval"].expo.discrete_win_rate == 100
    assert len(report.answers) == 30
    assert len(report.dialogues) == 80
    first, second = report.dialogues[0].turns
    assert (first.original_rating, first.expo_rating, second.expo_rating) == (6, 6, 8)
    assert (first.original, second.expo, second.expo_judgment) == ("an answer", "MARKED", "[[8]]")
    assert first.question != second.question and report.dialogues[0].category == "writing"
    assert first.reference == "", "writing has no reference answers"
    assert all(
        turn.reference
        for dialogue in report.dialogues
        if dialogue.category == "math"
        for turn in dialogue.turns
    )
    assert {"MT-Bench: questions", "AlpacaEval 2.0: reference outputs"} <= report.settings.keys()
    assert [cost.stage for cost in report.costs if "judge" in cost.stage][1] == "judge MT-Bench, original"


@pytest.mark.slow
def test_seeds_are_means_and_the_original_once_more_is_noise(run: Run, server: JudgeServer) -> None:
    """Two generations of each arm and a third of the original, which is in no mean."""
    lost = ["-"] * 30
    half = [*LONG[:15], *lost[15:]]
    original = [run.judged("original", half, seed=1), run.judged("original", lost, seed=2)]
    expo = [run.judged("expo", LONG, seed=1), run.judged("expo", half, seed=2)]
    again = run.judged("original", LONG, seed=3)
    report = _report(verdict.fn(_entry(), RECIPE, (*original, again, *expo), (), run.store))
    (found,) = report.verdicts
    win, loss = 90, 10  # how sure the judge is
    assert found.original.score == pytest.approx((win + 3 * loss) / 4)
    assert found.expo.score == pytest.approx((3 * win + loss) / 4)
    assert found.difference.mean == pytest.approx(40) and found.difference.n == 30
    (band,) = report.noise
    assert band.difference == pytest.approx(40) and band.n == 30
    assert band.lower < band.difference < band.upper


@pytest.mark.slow
def test_unparsed_ratings_are_counted_and_pair_nothing(run: Run, server: JudgeServer, fetched: Path) -> None:
    import_from(fetched, data_files())
    asked = find.fn("mt_bench")
    server.says = lambda body: "no idea" if "mute" in body["messages"][1]["content"] else "[[5]]"
    arms: dict[ArmName, list[str]] = {"original": ["fine"] * 160, "expo": ["fine"] * 158 + ["fine", "mute"]}
    generations = [run.generation(name, outputs, "mt_bench") for name, outputs in arms.items()]
    rated = [stage.fn(generation, asked, run.judge, run.store) for generation in generations]
    report = _report(verdict.fn(_entry(), RECIPE, tuple(rated), (), run.store))
    (found,) = report.verdicts
    assert (found.original.unparsed, found.expo.unparsed) == (0, 1)
    muted = report.dialogues[-1].turns[1]
    assert (muted.expo_rating, muted.expo_judgment) == (None, "no idea")
    assert (found.n_judged, found.n_failed) == (159, 1)


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
def test_a_report_counts_by_cause_what_was_not_judged_or_answered(run: Run, server: JudgeServer) -> None:
    server.fail("400", on={"question 7"})
    server.raw = {"question 8": b"no JSON"}
    lenient = run._replace(judge=run.judge.model_copy(update={"min_judged": 0.9}))
    original = lenient.judged("original", SHORT[::-1])
    server.raw = {}
    server.choices = {"question 8": LOW_MASS}
    generation = lenient.generation("expo", LONG, "alpaca_eval")
    summary = generation.summary.model_copy(update={"failures": {"timeout": 1}})
    generation = generation.model_copy(update={"summary": summary})
    expo = stage.fn(generation, run.asked, lenient.judge, run.store)
    report = _report(verdict.fn(_entry(), RECIPE, (original, expo), (), run.store))
    (found,) = report.verdicts
    assert found.original.not_judged == {"refused": 1, "bad reply": 1}
    assert found.expo.not_judged == {"refused": 1, "low mass": 1} and found.expo.not_answered == {
        "timeout": 1
    }
    assert found.original.median_mass == found.expo.median_mass == pytest.approx(1)
    written = json.loads(report.model_dump_json())["verdicts"][0]["expo"]
    assert written["not_judged"] == {"refused": 1, "low mass": 1} and written["median_mass"] == pytest.approx(
        1
    )
    whole = RunReport(name="r", created="2026-11-27T10:00:00+00:00", code_version="1", families=(report,))
    for text in (render_markdown(whole), html.unescape(render_html(whole))):
        assert "Not judged: 1 bad reply, 1 refused → 1 low mass, 1 refused." in text
        assert "Not answered by the endpoint, and counted as empty: none → 1 timeout." in text
        assert "The verdict tokens had 100.0% → 100.0%" in text and "less than 50%" in text


def test_a_lenient_judge_has_figures_of_fewer_items(run: Run, server: JudgeServer) -> None:
    lenient = run._replace(judge=run.judge.model_copy(update={"min_judged": 0.5}))
    server.fail("400", on={f"question {index}" for index in range(10)})
    judged = (lenient.judged("original", SHORT[::-1]), lenient.judged("expo", LONG))
    (found,) = _report(verdict.fn(_entry(), RECIPE, judged, (), run.store)).verdicts
    assert (found.n_judged, found.n_failed) == (20, 10)


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


def test_a_budget_is_the_runs(run: Run, server: JudgeServer) -> None:
    judge = run.judge.model_copy(
        update={"max_requests": 1000, "max_cost": 5.0, "dollars_per_million": (10.0, 30.0)}
    )
    half = split_budget(judge, 2)
    assert (half.max_requests, half.max_cost) == (500, 2.5)
    assert judge_fingerprint(half, "alpaca_eval") == judge_fingerprint(judge, "alpaca_eval")
    parts = (Usage(requests=30, prompt_tokens=100), Usage(requests=10, prompt_tokens=300))
    shares = [budget_share(judge, part, parts[0] + parts[1]) for part in parts]
    assert [judge.max_requests for judge in shares] == [750, 250]
    assert [judge.max_cost for judge in shares] == pytest.approx([1.25, 3.75])

    judges, usages = within_budget({"alpaca_eval": judge}, [run.asked, run.asked])
    assert judges[run.asked].max_requests == 500 and usages[judge].requests == 60
    with pytest.raises(PermanentError, match="60 more requests after 0 pass the limit of 59"):
        within_budget({"alpaca_eval": judge.model_copy(update={"max_requests": 59})}, [run.asked, run.asked])
    assert server.bodies == []


def test_an_estimate_in_words() -> None:
    judge = Judge(model="m", dollars_per_million=(10, 30), max_cost=30)
    usage = Usage(requests=1610, prompt_tokens=2_100_000, completion_tokens=1610)
    said = "1,610 requests, about 2.1 million tokens, about $21.05 (limit $30.00)"
    assert describe_usage(judge, usage) == said


def test_the_demos_rule_rates_nothing() -> None:
    with pytest.raises(InputError, match="rates nothing; leave mt_bench out"):
        find_judges(find_family("demo"), None, ("alpaca_eval", "mt_bench"))
