"""A benchmark that nothing but its own module and the table knows, from the flow to the command.

The checkpoints are a stand-in's, extrapolated for real; an endpoint answers in place of vLLM.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasks.benchmarks.table import BENCHMARKS
from tasks.comparison.decoding import ArmEndpoints, GenerationConfig
from tasks.reports.run_report import RunReport
from tests.benchmarks.sums import SUMS
from tests.servers.hub import use_in_this_process
from tests.servers.judge import Body, JudgeServer
from tests.zoo.serve import TOKEN, serve_zoo

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

NAME = "zephyr-7b-beta"


@pytest.fixture(autouse=True)
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(BENCHMARKS, "sums", "tests.benchmarks.sums")


def _answers(body: Body) -> str:
    """+ ExPO can add; the original guesses."""
    asked = body["messages"][-1]["content"]
    return f"It is {SUMS[asked]}." if body["model"] == "expo" else "It is 7."


def _command(*arguments: object) -> str:
    from flows.cli.main import app

    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_from_the_flow_to_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.expo import expo
    from flows.parameters import FamilyName

    with serve_zoo((NAME,)) as hub, JudgeServer() as models:
        use_in_this_process(monkeypatch, hub, tmp_path / "hf")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("tasks.stores.open._opened", {})
        models.says = _answers
        endpoint = ArmEndpoints(base_url=models.url, original="original", expo="expo")
        uri = expo(
            (FamilyName(NAME),),
            benchmarks=("sums",),
            store=str(tmp_path / "store"),
            generation=GenerationConfig(endpoint=endpoint, noise_band=True),
        )
        asked = len(models.bodies)
    assert asked == 3 * len(SUMS), "both arms, and the original once more; no judge is asked"

    report = RunReport.model_validate_json((Path(uri) / "report.json").read_bytes())
    (family,) = report.families
    (verdict,) = family.verdicts
    assert (verdict.benchmark, verdict.judge) == ("sums", "last number, version 1")
    assert (verdict.original.score, verdict.expo.score, verdict.n_judged) == (0, 100, 10)
    assert verdict.outcome == "better" and family.noise[0].difference == 0
    assert [row.benchmark for row in family.dialogues] == ["sums"] * 10

    page, text = (Path(uri) / "report.html").read_text(), (Path(uri) / "report.md").read_text()
    assert "Ten sums" in page and "accuracy, %" in page and '"verified"' in page
    assert "accuracy 0.0 → 100.0" in text and "Ten sums" in _command("report", "--store", tmp_path / "store")
    assert "Ten sums" in _command("history", "--store", tmp_path / "store")

    by_arm = {
        json.loads(path.read_text())[0]["model"]: path
        for path in tmp_path.glob("store/judgments/*/sums.json")
    }
    files = [by_arm["original"], by_arm["expo α=0.1"]]
    assert json.loads(_command("score", "sums", files[1], "--json"))["accuracy"] == 100
    assert "B against A: better" in _command("compare", *files)


def test_one_that_is_not_in_the_table_is_refused(tmp_path: Path) -> None:
    from flows.expo import expo
    from flows.parameters import FamilyName

    with pytest.raises(Exception, match=r"no benchmark 'products'; there are alpaca_eval, .*, sums"):
        expo((FamilyName(NAME),), benchmarks=("products",), store=str(tmp_path))
