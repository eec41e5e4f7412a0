"""A search in the report: its curve, its race, its sentence."""

from tasks.reports.html import render_race
from tasks.search.racing import Standing
from tasks.search.rails import RailReading, Vitals
from tasks.search.report import race_summary, search_curve
from tasks.search.result import Confirmation, SearchCosts, SearchResult
from tasks.stats.paired import PairedDifference

VITALS = Vitals(prompts=100, unended=0.02, repeating=0.0, mean_characters=90)
BROKEN = RailReading(rail="no end token", value=0.7, limit="at most 0.1", holds=False)
DIFFERENCE = PairedDifference(
    mean=0.3, lower=0.26, upper=0.34, standard_error=0.02, p_value=0.001, n=100, detectable=0.05
)
SEARCH = SearchResult(
    aligned="demo:aligned@a",
    sft="demo:sft@b",
    objective="preference over α = 0, judged by demo-rule",
    judged=True,
    alpha=2.0,
    reason="confirmed",
    best=3.6,
    tied=(2.0, 3.6),
    standings=(
        Standing(alpha=0.0, fate="trails the best", prompts=100, score=0.5, gain=0.0, standard_error=0.0),
        Standing(
            alpha=2.0,
            fate="tied with the best",
            prompts=100,
            score=0.8,
            gain=0.3,
            standard_error=0.02,
            vitals=VITALS,
        ),
        Standing(
            alpha=6.6,
            fate="broke a rail",
            prompts=32,
            score=None,
            gain=None,
            standard_error=None,
            vitals=VITALS,
            rails=(BROKEN,),
            broken=("no end token",),
        ),
    ),
    rounds=(32, 64, 100),
    confirmation=Confirmation(alpha=2.0, difference=DIFFERENCE, rails=()),
    costs=SearchCosts(answers=800, answer_tokens=20000, seconds=9.0),
    engine="vllm 0.32.0, weights replaced in place",
    fingerprint="f" * 64,
)


def test_the_race_of_a_judge_is_the_alpha_curve() -> None:
    (point,) = search_curve(SEARCH)
    assert (point.alpha, point.win_rate, point.mean_length, point.truncated) == (2.0, 80.0, 90, 0.02)
    assert (round(point.lower, 2), round(point.upper, 2)) == (76.08, 83.92)


def test_the_page_of_a_search_names_the_choice_and_shows_each_scored_candidate() -> None:
    page = render_race(race_summary(SEARCH), "org/<b>aligned", "org/sft")
    assert "<h1>α = 2</h1>" in page and "org/&lt;b&gt;aligned" in page
    assert "broke a rail" in page and "no end token" in page
    assert page.count("<svg") == 1 and "3 requests to a judge" not in page
    assert [point.alpha for point in race_summary(SEARCH).points] == [0.0, 2.0]
    none = race_summary(SEARCH.model_copy(update={"alpha": None, "confirmation": None}))
    assert "<h1>No α</h1>" in render_race(none, "a", "b")


def _lost(standing: Standing, points: float) -> Standing:
    reading = RailReading(rail="loss on gsm8k", value=points, limit="at most 5", holds=points <= 5, most=5.0)
    return standing.model_copy(update={"rails": (*standing.rails, reading)})


def test_a_guard_among_the_rails_is_gain_against_cost_for_each_alpha() -> None:
    """What was out before it was scored has no gain: it stands in the notes, not in the plot."""
    losses = (0.0, 2.0, 12.0)
    standings = tuple(map(_lost, SEARCH.standings, losses))
    race = race_summary(SEARCH.model_copy(update={"standings": standings}))
    assert [point.guards for point in race.points] == [{"gsm8k": 0.0}, {"gsm8k": -2.0}]
    assert race.margins == {"gsm8k": 5.0}
    assert race.notes[0] == (
        "On GSM8K (chat, no examples), in percentage points more than α = 0 (a loss of at most 5 is "
        "allowed): α = 2 −2.0; α = 6.6 −12.0, out before it was scored."
    )
    page = render_race(race, "a", "b")
    assert page.count("<svg") == 2 and "Gain against cost <small>GSM8K" in page
    assert ">α = 2, chosen<" in page and "α = 6.6, chosen" not in page
    assert page.count("<svg") - render_race(race_summary(SEARCH), "a", "b").count("<svg") == 1


def test_scores_that_are_no_win_rates_are_no_curve() -> None:
    assert search_curve(SEARCH.model_copy(update={"judged": False})) == ()
    assert search_curve(None) == ()


def test_the_race_is_told_in_words_and_rows() -> None:
    race = race_summary(SEARCH)
    assert race.sentence.startswith("α = 2: +0.3 over α = 0 on 100 fresh prompts")
    assert race.rows[2] == ("6.6", "32", "–", "–", "broke a rail", "no end token")
    assert all(len(row) == len(race.header) for row in race.rows)
