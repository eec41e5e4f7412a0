"""Every judged benchmark, and prompts of one's own, to a verdict each, on data that every machine has.

The checkpoints are a stand-in's, extrapolated for real; an endpoint answers in place of vLLM.
"""

import json
import re
from pathlib import Path

import pytest

from tasks.benchmarks.judge_config import Judge
from tasks.comparison.decoding import ArmEndpoints, GenerationConfig
from tasks.reports.run_report import RunReport
from tests.benchmarks.length_judge import by_length
from tests.benchmarks.synthetic import ARENA, CATEGORIES, INSTRUCTIONS, take_for_pinned
from tests.servers.hub import use_in_this_process
from tests.servers.judge import Body, JudgeServer
from tests.zoo.serve import TOKEN, serve_zoo

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

NAME = "zephyr-7b-beta"


@pytest.fixture(autouse=True)
def synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    take_for_pinned(monkeypatch)


def _answers(body: Body) -> str:
    """+ ExPO says more than the reference; the original next to nothing."""
    return "word " * 100 if body["model"] == "expo" else "short"


def _rating(body: Body) -> str:
    if "Assistant A" in body["messages"][0]["content"]:
        return by_length(body)
    return "[[8]]" if "word word" in body["messages"][1]["content"] else "[[5.5]]"


def test_a_verdict_each_and_nothing_paid_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.expo import expo
    from flows.parameters import FamilyName

    uris: list[str] = []
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Say {word}."}) + "\n" for word in ("a", "b", "c")))
    with serve_zoo((NAME,)) as hub, JudgeServer() as models, JudgeServer() as server:
        use_in_this_process(monkeypatch, hub, tmp_path / "hf")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("tasks.stores.open._opened", {})
        models.says, server.says = _answers, _rating

        def run() -> RunReport:
            uri = expo(
                (FamilyName(NAME),),
                benchmarks=("alpaca_eval", "mt_bench", "arena_hard"),
                prompts=str(prompts),
                judge=Judge(model="longer", base_url=server.url),
                store=str(tmp_path / "store"),
                generation=GenerationConfig(
                    endpoint=ArmEndpoints(base_url=models.url, original="original", expo="expo")
                ),
            )
            uris.append(uri)
            return RunReport.model_validate_json((Path(uri) / "report.json").read_bytes())

        report = run()
        answered = 2 * (len(INSTRUCTIONS) + 2 * len(CATEGORIES) + len(ARENA) + 3)
        # Arena-Hard's pairs in both orders for both arms; those of the prompts for + ExPO alone
        asked = 2 * (len(INSTRUCTIONS) + 2 * len(CATEGORIES) + 2 * len(ARENA) + 3)
        assert (len(models.bodies), len(server.bodies)) == (answered, asked)
        again = run()
        assert (len(models.bodies), len(server.bodies)) == (answered, asked)

    win, rating, hard, own = report.families[0].verdicts
    assert (win.benchmark, win.outcome, win.n_judged, win.n_failed) == ("alpaca_eval", "better", 24, 0)
    assert win.expo.score > 85 > 15 > win.original.score
    assert (rating.benchmark, rating.outcome, rating.difference.n) == ("mt_bench", "better", 8)
    assert (rating.original.score, rating.expo.score) == (5.5, 8)
    assert set(rating.expo.categories) == set(CATEGORIES)
    assert (hard.benchmark, hard.original.score, hard.expo.score) == ("arena_hard", 0, 100)
    assert re.fullmatch(r"prompts@[0-9a-f]{12}", own.benchmark)
    assert (own.original.score, own.expo.score, own.n_judged) == (50, 100, 3)
    page = (Path(uris[0]) / "report.html").read_text()
    assert "Arena-Hard v2" in page and f"own prompts {own.benchmark[8:]}" in page
    assert again.families == report.families
