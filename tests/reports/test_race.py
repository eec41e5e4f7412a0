"""A search for α in the report of a run."""

from tasks.reports.html import render_html
from tasks.reports.markdown import render_markdown
from tasks.reports.run_report import RaceSummary, RunReport
from tasks.reports.text import terminal_table

RACE = RaceSummary(
    sentence="α = 2: +0.3 over α = 0 on 100 fresh prompts",
    objective="preference over α = 0, judged by a judge",
    engine="vllm 0.32.0, weights replaced in place",
    rounds=(32, 64, 100),
    header=("α", "prompts", "outcome"),
    rows=(("2", "100", "tied with the best"), ("6.6", "32", "broke a rail <no end token>")),
)


def test_every_form_of_the_report_tells_the_search(run_report: RunReport) -> None:
    family = run_report.families[0].model_copy(update={"race": RACE})
    report = run_report.model_copy(update={"families": (family, *run_report.families[1:])})
    page, markdown = render_html(report), render_markdown(report)
    for text in (page, markdown, terminal_table(report)):
        assert RACE.sentence in " ".join(text.split())
    assert "| 6.6 | 32 | broke a rail <no end token> |" in markdown
    assert "broke a rail &lt;no end token&gt;" in page and "Rounds of 32, 64, 100 held-out prompts" in page


def test_a_run_whose_alpha_was_given_tells_of_no_search(run_report: RunReport) -> None:
    assert "The search for α" not in render_html(run_report) and "How α was found" not in render_markdown(
        run_report
    )
