"""The page as a file: whole, self-contained, and closed to whatever models wrote."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from tasks.benchmarks.rows import AnswerRow
from tasks.reports.html import render_html
from tasks.reports.norms import TensorNorm, norm_table
from tasks.reports.plots import gain_plot
from tasks.reports.run_report import Failure, FamilyReport, RunReport, StageCost
from tasks.reports.sentences import reason
from tasks.reports.svg import MARKERS

FamilyMaker = Callable[..., FamilyReport]

EVIL = "</script><script>alert(1)</script><!--<script><img src=x onerror=alert(2)>{{ 7 * 7 }}\u2028${1}&lt;"


class Page(HTMLParser):
    """Every tag with its attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


def test_the_page_asks_for_nothing_from_outside(many_page: str) -> None:
    page = Page(many_page)
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}, tag
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "url(http" not in many_page
    assert "@import" not in many_page


def empty_headings(page: str) -> list[str]:
    """Headings that the next one of their level, or of a higher one, follows at once."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    parts = re.split(r"<h([2-4])\b[^>]*>(.*?)</h\1>", body, flags=re.DOTALL)[1:]
    found = []
    for at in range(0, len(parts), 3):
        level, title, after = parts[at : at + 3]
        blank = not re.sub(r"<[^>]*>", "", after).strip() and "<svg" not in after and "<ol" not in after
        if blank and (at + 3 == len(parts) or parts[at + 3] <= level):
            found.append(title)
    return found


def test_no_heading_is_without_content(many_page: str, run_report: RunReport) -> None:
    assert empty_headings("<h2>a</h2><h3>b</h3><p></p><h3>c</h3>x<h2>d</h2>") == ["b", "d"]
    failure = Failure(family="demo", stage="resolve", reason="no such checkpoint")
    failed = run_report.model_copy(update={"families": (), "failures": (failure,)})
    for page in (many_page, render_html(run_report), render_html(failed)):
        assert empty_headings(page) == []


def test_costs_are_counted_in_words_that_agree(run_report: RunReport) -> None:
    costs = (
        StageCost(stage="judge a", seconds=1, requests=1),
        StageCost(stage="judge b", seconds=1, requests=1610, dollars=4.2),
        StageCost(stage="judge c", seconds=1, dollars=0.5),
    )
    family = run_report.families[0].model_copy(update={"costs": costs})
    page = render_html(run_report.model_copy(update={"families": (family,)}))
    assert re.findall(r'<td class="n">([^<]*(?:request|\$)[^<]*)</td>', page) == [
        "1 request",
        "1,610 requests, $4.20",
        "$0.50",
    ]


def test_outcomes_differ_in_shape_too(make_family: FamilyMaker) -> None:
    """For a reader who does not tell the colors apart."""
    verdict = make_family("demo").verdicts[0]
    drawn = set()
    for outcome in MARKERS:
        plot = gain_plot([verdict.model_copy(update={"outcome": outcome})])
        drawn.add(re.sub(r"var\(--\w+\)|s?[mp]?[0-9a-f]{10,}", "", plot))
    assert len(drawn) == len(MARKERS) == 4


def test_only_the_pages_own_script_may_run(run_report: RunReport) -> None:
    page = Page(render_html(run_report))
    data, script = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert json.loads(data)["sets"][0]["family"] == "demo"


def test_what_models_wrote_stays_data(make_family: FamilyMaker, run_report: RunReport) -> None:
    row = AnswerRow(instruction=EVIL, original=EVIL, expo="x", reference=EVIL, expo_preference=1.0)
    foreign = {"family": EVIL, "settings": {EVIL: EVIL}, "notices": (EVIL,)}
    family = make_family("demo", answers=(row,)).model_copy(update=foreign)
    failure = Failure(family=EVIL, stage=EVIL, reason=EVIL)
    evil = run_report.model_copy(
        update={"name": EVIL, "families": (family,), "failures": (failure,), "note": EVIL}
    )
    page, plain = Page(render_html(evil)), Page(render_html(run_report))
    assert [tag for tag, _ in page.tags].count("script") == [tag for tag, _ in plain.tags].count("script")
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)
    assert json.loads(page.scripts[0])["items"] == [["", [[EVIL, EVIL]]]]


def test_shared_instructions_are_stored_once(make_family: FamilyMaker, run_report: RunReport) -> None:
    two = run_report.model_copy(update={"families": (make_family("demo"), make_family("zephyr-7b-beta"))})
    data = json.loads(Page(render_html(two)).scripts[0])
    assert len(data["items"]) == 7
    assert [shown["family"] for shown in data["sets"]] == ["demo", "zephyr-7b-beta"]
    assert data["sets"][1]["rows"][6] == [6, [["plain 6", "better 6", None, 1.0, "", ""]]]


def test_every_verdict_judge_and_failure_is_shown(many: RunReport, many_page: str) -> None:
    text = many_page
    assert all(html.escape(reason(verdict)) in text for verdict in many.verdicts)
    words = {word: sum(verdict.outcome == word for verdict in many.verdicts) for word in ("better", "worse")}
    lead = re.sub(r"<[^>]+>|\s+", " ", text[text.index('class="lead"') : text.index('class="cards')])
    assert f"{words['better']} are better" in " ".join(lead.split())
    assert "1 did not finish" in " ".join(lead.split())
    assert "&lt;80 GB&gt; asked for" in text
    assert "The published figures were judged by gpt-4-1106-preview, these by gpt-4.1" in text


def test_the_plots_follow_the_theme(run_report: RunReport) -> None:
    """A color that matplotlib wrote and nobody replaced would be invisible in one of the themes."""
    plots = re.findall(r"<svg.*?</svg>", render_html(run_report), re.DOTALL)
    assert len(plots) == 3
    for plot in plots:
        assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r'(href|url\()="?#\w+', "", plot))
        assert "var(--" in plot
        assert "aria-label" in plot
    ids = re.findall(r' id="([^"]+)"', "".join(plots))
    assert len(ids) == len(set(ids)), "plots in one page share no ids"


def test_the_same_report_is_the_same_page(run_report: RunReport) -> None:
    assert render_html(run_report) == render_html(RunReport.model_validate_json(run_report.model_dump_json()))


@pytest.mark.parametrize("families", ["none", "without a verdict"])
def test_a_run_without_verdicts_has_a_page(run_report: RunReport, families: str) -> None:
    bare = FamilyReport(family="demo", alpha=0.5, verdicts=())
    run = run_report.model_copy(update={"families": () if families == "none" else (bare,)})
    text = render_html(run)
    assert "nothing to plot" in text
    assert 'id="answers"' not in text


def test_norms_find_their_layer_in_every_architecture() -> None:
    names = [
        "model.layers.3.self_attn.q_proj.weight",
        "model.layers.0.attention.wqkv.weight",
        "transformer.h.1.mlp.bias",
    ]
    table = norm_table([TensorNorm(name=name, aligned=2.0, delta=1.0) for name in [*names, "lm_head.weight"]])
    assert table.layers == [0, 1, 3]
    assert table.modules == {
        "self_attn.q_proj": [None, None, 0.5],
        "attention.wqkv": [0.5, None, None],
        "mlp": [None, 0.5, None],
    }
    assert table.others == {"lm_head.weight": 0.5}
    assert norm_table([TensorNorm(name="x", aligned=0.0, delta=0.0)]).largest == 0.0


def test_many_verdicts_are_read_in_tables_and_failures_stay_cards(
    many: RunReport, many_page: str, run_report: RunReport
) -> None:
    assert render_html(run_report).count('<article class="card') == 1
    text = many_page
    assert text.count('<article class="card') == len(many.failures) == 1
    assert text.index("AlpacaEval 2.0 <small>") < text.index('id="figures"')
