"""A run with a guard, from the flow to the commands: a gain that costs what IFEval measures.

The checkpoints are a stand-in's, extrapolated for real; an endpoint answers, and lm-eval verifies.
"""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasks.benchmarks.table import BENCHMARKS
from tasks.comparison.decoding import ArmEndpoints, GenerationConfig
from tasks.core.errors import InputError
from tasks.reports.run_report import RunReport
from tests.benchmarks.instruction_files import DOCUMENTS, use_small_ifeval
from tests.benchmarks.sums import SUMS
from tests.servers.hub import use_in_this_process
from tests.servers.judge import Body, JudgeServer
from tests.zoo.serve import TOKEN, serve_zoo

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

NAME = "llama3-iterative-dpo-final"
FOLLOWING = dict(
    zip(
        (document["prompt"] for document in DOCUMENTS),
        ("Hello", "i would like to eat a ripe pear this morning", "It rained. Then it stopped."),
        strict=True,
    )
)


def _answers(body: Body) -> str:
    """+ ExPO can add, and follows no instruction; the original guesses sums, and follows all."""
    asked = body["messages"][-1]["content"]
    if asked in FOLLOWING:
        return "Well, NO" if body["model"] == "expo" else FOLLOWING[asked]
    return f"It is {SUMS[asked]}." if body["model"] == "expo" else "It is 7."


def test_a_gain_at_a_cost_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.cli.main import app
    from flows.expo import expo
    from flows.parameters import FamilyName

    use_small_ifeval(tmp_path, monkeypatch)
    monkeypatch.setitem(BENCHMARKS, "sums", "tests.benchmarks.sums")
    with serve_zoo((NAME,)) as hub, JudgeServer() as models:
        use_in_this_process(monkeypatch, hub, tmp_path / "hf")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("tasks.stores.open._opened", {})
        models.says = _answers
        uri = expo(
            (FamilyName(NAME),),
            benchmarks=("sums",),
            guards=("ifeval=5",),
            store=str(tmp_path / "store"),
            generation=GenerationConfig(
                endpoint=ArmEndpoints(base_url=models.url, original="original", expo="expo"), seeds=2
            ),
        )
        asked = [body["messages"][-1]["content"] for body in models.bodies]
    assert len(asked) == 4 * len(SUMS) + 2 * len(DOCUMENTS), (
        "a guard is answered once an arm, whatever the seeds"
    )
    assert {
        body["temperature"] for body in models.bodies if body["messages"][-1]["content"] in FOLLOWING
    } == {0}

    report = RunReport.model_validate_json((Path(uri) / "report.json").read_bytes())
    (verdict,) = report.verdicts
    (guard,) = verdict.guards
    assert (verdict.benchmark, verdict.outcome, verdict.compared) == ("sums", "better, at a cost", 2)
    assert (guard.benchmark, guard.finding, guard.margin) == ("ifeval", "at a cost", 5)
    assert (guard.original.score, guard.expo.score, guard.lost) == (100, 0, 3)
    (family,) = report.families
    assert any(cost.setting.startswith("GSM8K, 5 shots") for cost in family.published_costs)
    assert len([row for row in family.dialogues if row.benchmark == "ifeval"]) == 3
    assert "last number" in family.settings["judge"], "the judge of the gain, not the guard's rule"
    shown = CliRunner().invoke(app, ["report", "--store", str(tmp_path / "store")])
    assert "better, at a cost" in shown.output and "IFEval is at a cost" in " ".join(shown.output.split())


def test_a_guard_that_does_not_fit_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    from flows.expo import expo
    from flows.parameters import FamilyName

    with pytest.raises(InputError, match="ifeval: both a benchmark and a guard"):
        expo((FamilyName(NAME),), benchmarks=("ifeval",), guards=("ifeval",), store=str(tmp_path))
    assert not list(tmp_path.glob("*/*"))
