"""What MT-Bench and the anchors add to the page, the Markdown and the terminal."""

import json
import re

import numpy as np
import pytest

from tasks.benchmarks.registry import find_benchmark
from tasks.core.families import find_family
from tasks.reports.html import render_html
from tasks.reports.markdown import render_markdown
from tasks.reports.run_report import FamilyReport, RunReport
from tasks.reports.text import terminal_table
from tasks.stats.agreement import agree
from tasks.stats.decision import decide
from tasks.stats.metrics import ArmMetrics, ArmResult


@pytest.fixture
def rated() -> RunReport:
    """One family on MT-Bench with eight categories, by a judge that was measured on anchors."""
    rng = np.random.default_rng(0)
    before = rng.integers(3, 9, 160).astype(float)
    after = np.clip(before + rng.normal(0.4, 1, 160), 1, 10)
    arms = []
    for shift, ratings in ((0.0, before), (0.5, after)):
        categories = {name: 5 + shift + i / 8 for i, name in enumerate(["writing", "math", "stem"])}
        arms.append(
            ArmMetrics(
                score=ratings.mean(),
                standard_error=0.1,
                mean_length=900,
                first_turn=6.25 + shift,
                second_turn=5.75 + shift,
                categories=categories,
                unparsed=int(shift * 4),
            )
        )
    published = find_family("zephyr-7b-beta").published
    assert published
    verdict = decide(
        "zephyr-7b-beta",
        0.1,
        "mt_bench",
        "gpt-4.1",
        ArmResult(metrics=arms[0], scores=dict(enumerate(before)), clusters={i: i // 2 for i in range(160)}),
        ArmResult(metrics=arms[1], scores=dict(enumerate(after))),
        unit="rating points",
        published=find_benchmark("mt_bench").published(published),
    )
    shares = rng.random(60)
    return RunReport(
        name="rated",
        created="2026-11-25T12:00:00+00:00",
        code_version="0.1.0",
        families=(FamilyReport(family="zephyr-7b-beta", alpha=0.1, verdicts=(verdict,)),),
        anchors=(agree("gpt-4-1106-preview", "gpt-4.1", shares, shares**0.5),),
    )


def test_the_page_shows_categories_turns_and_unparsed(rated: RunReport) -> None:
    page = render_html(rated)
    assert "MT-Bench by category" in page and ">math</text>" in page.replace("-->\n", "-->")
    assert "First turn 6.25 → 6.75, second turn 5.75 → 6.25" in page
    assert "in no figure: 0 and 2" in page
    assert RunReport.model_validate_json(rated.model_dump_json()) == rated


def test_the_judge_is_measured_in_every_form(rated: RunReport) -> None:
    for text in (render_html(rated), render_markdown(rated), terminal_table(rated)):
        assert "gpt-4.1 agrees with gpt-4-1106-preview in" in text.replace("\n", " ")
    assert "writing 5.00 → 5.50" in render_markdown(rated)


def test_dialogues_of_an_older_report_have_the_title_of_its_rated_verdict(rated: RunReport) -> None:
    """Before several benchmarks could have dialogues, a stored one did not say whose it was."""
    turn = {
        "question": "first",
        "original": "before",
        "expo": "after",
        "original_rating": 5,
        "expo_rating": 7,
    }
    stored = json.loads(rated.model_dump_json())
    stored["families"][0]["dialogues"] = [{"question_id": 81, "category": "math", "turns": [turn]}]
    report = RunReport.model_validate_json(json.dumps(stored))
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', render_html(report), re.DOTALL)
    assert found
    (shown,) = json.loads(found[1])["sets"]
    assert (shown["benchmark"], shown["scale"]) == ("MT-Bench", "rating")
    assert "benchmark" not in json.loads(report.model_dump_json())["families"][0]["dialogues"][0]
