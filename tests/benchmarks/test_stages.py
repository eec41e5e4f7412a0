"""The stages judge and verdict on hand-made answers: both benchmarks, failed items, lost machines."""

import html
import json
import math
from pathlib import Path

import pytest

from tasks.benchmarks.data import import_from
from tasks.benchmarks.registry import data_files
from tasks.comparison.arm import ArmName
from tasks.instructions import instructions as find
from tasks.judge import judge as stage
from tasks.reports.html import render_html
from tasks.reports.markdown import render_markdown
from tasks.reports.run_report import RunReport
from tasks.stores.artefact import Store
from tasks.verdict import verdict
from tasks.weights.folder import model_artefact
from tasks.weights.manifest import Manifest
from tests.benchmarks.answers import LONG, SHORT
from tests.benchmarks.judged_run import RECIPE, Run, family_with_figures, report_at
from tests.servers.judge import JudgeServer

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
    report = report_at(
        verdict.fn(family_with_figures(), RECIPE, (won[0], rated[0], won[1], rated[1]), (), run.store)
    )
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
    report = report_at(verdict.fn(family_with_figures(), RECIPE, (*original, again, *expo), (), run.store))
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
    report = report_at(verdict.fn(family_with_figures(), RECIPE, tuple(rated), (), run.store))
    (found,) = report.verdicts
    assert (found.original.unparsed, found.expo.unparsed) == (0, 1)
    muted = report.dialogues[-1].turns[1]
    assert (muted.expo_rating, muted.expo_judgment) == (None, "no idea")
    assert (found.n_judged, found.n_failed) == (159, 1)


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
    report = report_at(verdict.fn(family_with_figures(), RECIPE, (original, expo), (), run.store))
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
    (found,) = report_at(verdict.fn(family_with_figures(), RECIPE, judged, (), run.store)).verdicts
    assert (found.n_judged, found.n_failed) == (20, 10)
