"""A family from the Hub to two verdicts: both benchmarks, the anchors, the budget, then again for nothing.

The checkpoints are a stand-in's and are extrapolated for real; an endpoint answers in place of
vLLM, so that all 805 instructions and all 160 turns can be asked.
"""

from pathlib import Path

import pytest

from tasks.benchmarks.data import import_from
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import data_files
from tasks.comparison.decoding import ArmEndpoints, GenerationConfig
from tasks.core.errors import ExpoError
from tasks.reports.run_report import RunReport
from tests.servers.hub import use_in_this_process
from tests.servers.judge import Body, JudgeServer
from tests.zoo.serve import TOKEN, serve_zoo

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

NAME = "zephyr-7b-beta"


@pytest.fixture
def imported(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    import_from(data, data_files())
    return data


def _answers(body: Body) -> str:
    """+ ExPO says more than any reference; the original next to nothing."""
    return "word " * 4000 if body["model"] == "expo" else "short"


def _rating(body: Body) -> str:
    return "[[8]]" if "word word" in body["messages"][1]["content"] else "[[5.5]]"


def test_both_benchmarks_to_their_verdicts(
    imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.expo import expo
    from flows.parameters import FamilyName

    with serve_zoo((NAME,)) as hub, JudgeServer() as models, JudgeServer() as server:
        use_in_this_process(monkeypatch, hub, tmp_path / "hf")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("tasks.stores.open._opened", {})
        models.says, server.says = _answers, _rating
        judge = Judge(
            model="longer",
            base_url=server.url,
            dollars_per_million=(10, 30),
            max_cost=300,
            max_requests=2000,
        )
        endpoint = ArmEndpoints(base_url=models.url, original="original", expo="expo")
        stored = imported / "annotations/zephyr_0.1/annotations.json"

        def run(judge: Judge) -> RunReport:
            uri = expo(
                (FamilyName(NAME),),
                benchmarks=("alpaca_eval", "mt_bench"),
                judge=judge,
                store=str(tmp_path / "store"),
                generation=GenerationConfig(endpoint=endpoint),
                anchors=str(stored),
            )
            return RunReport.model_validate_json((Path(uri) / "report.json").read_bytes())

        with pytest.raises(ExpoError, match="1 of 1 families failed"):
            run(judge.model_copy(update={"max_requests": 1929}))
        assert models.bodies == [], "a budget that cannot do is refused before anything is generated"
        asked_for_anchors = len(server.bodies)
        report = run(judge)
        assert len(models.bodies) == 2 * (805 + 160)
        assert len(server.bodies) - asked_for_anchors == 2 * (805 + 160)
        again = run(judge)
        assert len(server.bodies) - asked_for_anchors == 2 * (805 + 160), "paid for twice"

    win, rating = report.families[0].verdicts
    assert (win.benchmark, win.outcome, win.n_judged, win.n_failed) == ("alpaca_eval", "better", 805, 0)
    assert win.expo.score > 85 > 15 > win.original.score
    assert win.lc_note and "df_gamed.csv" in win.lc_note
    assert (rating.benchmark, rating.difference.n, rating.n_judged) == ("mt_bench", 80, 160)
    assert (rating.original.score, rating.expo.score) == (5.5, 8)
    assert len(rating.expo.categories) == 8
    assert rating.published and rating.published.score == (7.02, 7.06)
    (measured,) = report.anchors
    assert measured.earlier == "weighted_alpaca_eval_gpt4_turbo" and measured.n == asked_for_anchors == 200
    assert again.families == report.families and again.anchors == report.anchors
