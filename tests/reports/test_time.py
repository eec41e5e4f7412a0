"""Where the time went, in every form of a report."""

import pytest

from tasks.core.timeline import StageTimes, Timeline
from tasks.reports.html import render_html
from tasks.reports.markdown import render_markdown
from tasks.reports.run_report import RunReport
from tasks.reports.text import terminal_table
from tasks.reports.time_plot import time_plot, time_sentence

ROWS = (
    StageTimes(stage="download", label="download", work=((1, 61), (70, 90))),
    StageTimes(
        stage="generate",
        label="generate alpaca_eval expo, seed 2, org/aligned α=0.5",
        work=((95, 285),),
        wait=((91, 95),),
    ),
    StageTimes(stage="judge", label="judge <alpaca_eval> original, org/aligned", work=((100, 200),)),
)
TIMELINE = Timeline(family="demo", seconds=300, rows=ROWS)
SENTENCE = (
    "5 min 00 s from begin to end, 1.58 times its slowest leg, generating (3 min 10 s); "
    "26.0 s (8.7%) passed in no stage. 4.0 s passed in waiting for a slot or a judge's server."
)


def test_every_form_of_the_report_says_where_the_time_went(run_report: RunReport) -> None:
    report = run_report.model_copy(update={"timelines": (TIMELINE,)})
    assert time_sentence(TIMELINE) == SENTENCE
    page = render_html(report)
    assert "judge &lt;alpaca_eval&gt; original<" in page, "no row names the pair's model again"
    assert "generate alpaca_eval expo, seed 2 α=0.5" in page
    assert page.count('id="time"') == 1 and "minutes since" in page
    for text in (page.replace("&#39;", "'"), render_markdown(report), terminal_table(report)):
        assert SENTENCE in " ".join(text.split())


def test_an_older_report_has_no_such_section(run_report: RunReport) -> None:
    stored = run_report.model_dump_json()
    assert "timelines" not in stored, "and what is written without times is what it was"
    older = RunReport.model_validate_json(stored)
    for text in (render_html(older), render_markdown(older), terminal_table(older)):
        assert "Where the time went" not in text and "in no stage" not in text


@pytest.mark.parametrize(
    ("seconds", "unit"), [(0, "seconds"), (119, "seconds"), (600, "minutes"), (9e4, "hours")]
)
def test_the_axis_has_the_unit_that_fits(seconds: float, unit: str) -> None:
    rows = (StageTimes(stage="plan", label="plan", work=((0, max(seconds, 0.001)),)),)
    assert f"{unit} since" in time_plot(Timeline(family="demo", seconds=seconds, rows=rows))
