"""Figures from annotation files: the official leaderboard's, and the package's own where it has them."""

import csv
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.benchmarks import length_control
from tasks.benchmarks.alpaca_judge import judge_answers, load_package
from tasks.benchmarks.alpaca_score import AlpacaEvalScore, preferences, score_annotations
from tasks.benchmarks.judge_config import Judge
from tasks.core.errors import InputError, PermanentError
from tasks.core.values import canonical_json
from tasks.stats.paired import gain_error
from tests.servers.judge import JudgeServer

Rows = list[dict[str, Any]]
N = 60


@pytest.mark.parametrize("model", ["zephyr_0.05", "zephyr_0.1"])
def test_official_annotations_give_the_official_leaderboard(data: Path, model: str) -> None:
    figures = score_annotations(data / f"annotations/{model}/annotations.json")
    assert_official(figures, data, model)
    assert figures.judge == "weighted_alpaca_eval_gpt4_turbo"
    assert figures.lc_win_rate is None and "df_gamed.csv is not there" in figures.lc_note


@pytest.mark.slow
def test_a_run_whose_judge_says_what_the_published_one_said_has_the_official_figures(
    data: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    """From the requests on: which output is shown first, how a preference is read, what is counted."""
    rows = json.loads((data / "annotations/zephyr_0.1/annotations.json").read_text())
    server.choices = {
        row["instruction"]: _choice(row["raw_completion"]) for row in rows if row["raw_completion"]
    }
    annotations = judge_answers(
        data / "annotations/zephyr_0.1/model_outputs.json",
        data / "gpt4_1106_preview.json",
        judge,
        tmp_path,
        advance=lambda _: None,
    )
    assert_official(score_annotations(annotations), data, "zephyr_0.1")
    assert len(server.bodies) == 803


def _choice(raw: dict[str, Any]) -> dict[str, Any]:
    return {"index": 0, "finish_reason": "length", "message": raw["message"], "logprobs": raw["logprobs"]}


def assert_official(figures: AlpacaEvalScore, data: Path, model: str) -> None:
    """Win rate and its error to 1e-6, counts and length exactly."""
    with (data / "annotations/leaderboard.csv").open() as file:
        official = {row[""]: row for row in csv.DictReader(file)}[model]
    for field in ("win_rate", "standard_error", "discrete_win_rate"):
        assert getattr(figures, field) == pytest.approx(float(official[field]), abs=1e-6)
    for field in ("n_wins", "n_wins_base", "n_draws", "n_total"):
        assert getattr(figures, field) == int(official[field])
    assert figures.mean_length == int(official["avg_length"])
    assert (figures.n_failed, figures.n_identical) == (0, 2)


def test_sister_models_correlate_by_instruction(data: Path) -> None:
    """The pairing that cuts the error of a difference: wrong if one file were read in another order."""
    a, b = (preferences(data / f"annotations/zephyr_{name}/annotations.json") for name in ("0.05", "0.1"))
    assert len(a) == 805 and a.keys() == b.keys()
    assert 0.4 < np.corrcoef(list(a.values()), [b[name] for name in a])[0, 1] < 0.9


@pytest.fixture
def rows() -> Rows:
    """Annotations of 60 instructions by one judge, made by chance."""
    chance = np.random.default_rng(0)
    return [
        {
            "instruction": f"question {index}",
            "output_1": "x" * int(chance.integers(500, 1500)),
            "output_2": "y" * int(chance.integers(100, 1500)),
            "annotator": "someone",
            "preference": 1 + float(chance.beta(0.4, 0.8)),
        }
        for index in range(N)
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Rows], Path]:
    def write(rows: Rows) -> Path:
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(rows))
        return path

    return write


@pytest.fixture
def difficulty(tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of df_gamed.csv's form for the 60 instructions, which now count as the whole set."""
    instructions = canonical_json([row["instruction"] for row in rows])
    monkeypatch.setattr(length_control, "INSTRUCTIONS_SHA256", hashlib.sha256(instructions).hexdigest())
    chance = np.random.default_rng(1)
    hard = chance.normal(size=N)
    models = [
        pd.DataFrame(
            {
                "index": range(N),
                "model": model,
                "instruction_difficulty": hard,
                "std_delta_len": chance.normal(shift, 1, N),
                "preference": chance.beta(0.4, 0.8, N),
                "not_gamed_baseline": False,
            }
        )
        for model, shift in (("concise", 1), ("verbose", -1))
    ]
    path = tmp_path / "df_gamed.csv"
    pd.concat(models).to_csv(path, index=False)
    return path


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_length_control_is_the_packages_own(
    rows: Rows, write: Callable[[Rows], Path], difficulty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = score_annotations(write(rows), difficulty, resamples=3)
    load_package()
    from alpaca_eval.metrics import get_length_controlled_winrate, glm_winrate

    monkeypatch.setattr(glm_winrate, "hf_hub_download", lambda **_: difficulty)
    frame = pd.DataFrame(rows).assign(generator_1="a", generator_2="b")
    official = get_length_controlled_winrate(frame, save_weights_dir=None)
    assert figures.lc_win_rate == pytest.approx(official["length_controlled_winrate"], abs=1e-9)
    assert figures.lc_win_rate != pytest.approx(figures.win_rate, abs=0.1)
    assert figures.lc_note == ""


@pytest.mark.slow
def test_the_error_of_the_length_controlled_rate_is_a_bootstraps(
    rows: Rows, write: Callable[[Rows], Path], difficulty: Path
) -> None:
    """The package's own "standard error" is the spread of its predictions: next to nothing here."""
    once, twice = (score_annotations(write(rows), difficulty, resamples=25) for _ in range(2))
    assert once == twice
    assert once.lc_standard_error is not None and once.standard_error is not None
    assert 0.4 < once.lc_standard_error / once.standard_error < 2.5


@pytest.mark.slow
def test_the_error_of_the_length_controlled_gain_is_paired(
    rows: Rows, write: Callable[[Rows], Path], difficulty: Path
) -> None:
    """Every instruction's answer a bit better: the gain is far more certain than the two rates."""
    before = score_annotations(write(rows), difficulty, resamples=12)
    better = [{**row, "preference": row["preference"] + 0.1 * (2 - row["preference"])} for row in rows]
    after = score_annotations(write(better), difficulty, resamples=12)
    arms = [before.lc_resampled], [after.lc_resampled]
    error = gain_error(*arms)
    assert error is not None and before.lc_standard_error and after.lc_standard_error
    apart = float(np.hypot(before.lc_standard_error, after.lc_standard_error))
    assert 0 < error < 0.5 * apart
    assert gain_error(arms[0], arms[0]) == 0
    assert gain_error(arms[0], [*arms[1], ()]) is None
    assert "lc_resampled" not in before.model_dump_json()


def test_an_unjudged_item_keeps_its_place_in_length_control(
    rows: Rows, write: Callable[[Rows], Path], difficulty: Path
) -> None:
    """Dropped instead, every later item would be given its neighbor's difficulty."""
    rows[5]["preference"] = None
    figures = score_annotations(write(rows), difficulty, resamples=2)
    assert figures.n_failed == 1 and figures.lc_win_rate is not None


@pytest.mark.parametrize("change", [lambda rows: rows.pop(), lambda rows: rows.reverse()])
def test_no_length_control_for_a_subset_or_another_order(
    change: Callable[[Rows], object], rows: Rows, write: Callable[[Rows], Path], difficulty: Path
) -> None:
    change(rows)
    figures = score_annotations(write(rows), difficulty)
    assert figures.lc_win_rate is None and figures.lc_standard_error is None
    assert "not AlpacaEval's 805 instructions in order" in figures.lc_note


def test_marks_of_failure_are_never_preferences(rows: Rows, write: Callable[[Rows], Path]) -> None:
    """-1 is what the package's cache keeps of a rate limit."""
    rows[0]["preference"], rows[1]["preference"], rows[2]["preference"] = -1, None, 1.5
    figures = score_annotations(write(rows))
    judged = preferences(write(rows))
    assert (figures.n_total, figures.n_failed) == (N - 2, 2)
    assert "question 0" not in judged and "question 1" not in judged
    assert judged["question 2"] == 0.5
    assert figures.win_rate == pytest.approx(100 * float(np.mean(list(judged.values()))))


def test_too_few_judgments_give_no_figure(rows: Rows, write: Callable[[Rows], Path]) -> None:
    for row in rows[:4]:
        row["preference"] = None
    with pytest.raises(PermanentError, match="56 of 60 items have a judgment and a figure needs 95%"):
        score_annotations(write(rows))
    assert score_annotations(write(rows), min_judged=0.9).n_failed == 4


def test_figures_of_two_judges_are_not_mixed(rows: Rows, write: Callable[[Rows], Path]) -> None:
    rows[3]["annotator"] = "another"
    with pytest.raises(InputError, match="judged by another and someone"):
        score_annotations(write(rows))


def test_an_instruction_twice_cannot_be_paired(rows: Rows, write: Callable[[Rows], Path]) -> None:
    with pytest.raises(InputError, match="item 60 has the same instruction as item 0"):
        preferences(write([*rows, rows[0]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not a list of items"),
        ('[{"instruction": "a", "output_1": "b"}]', "item 0 has no text in 'output_2'"),
    ],
)
def test_another_file_is_refused_by_name(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"other\.json: .*{message}"):
        score_annotations(path)


def test_the_error_of_one_item_is_not_available(rows: Rows, write: Callable[[Rows], Path]) -> None:
    figures = score_annotations(write(rows[:1]))
    assert figures.standard_error is None and figures.n_total == 1
    assert figures.standard_error_note == "not available, because there is one item"
    assert json.loads(figures.model_dump_json())["standard_error"] is None
    with pytest.raises(InputError, match="at least two judged items"):
        figures.metrics()


def test_no_item_with_a_judgment_is_no_figure(rows: Rows, write: Callable[[Rows], Path]) -> None:
    with pytest.raises(PermanentError, match="no item has a judgment"):
        score_annotations(write([{**row, "preference": None} for row in rows]), min_judged=0)


def test_lengths_that_cannot_be_controlled_for_are_said(
    rows: Rows, write: Callable[[Rows], Path], difficulty: Path
) -> None:
    """Every answer as long as its reference; then all but one, whom most resamples lack."""
    alike = [{**row, "output_1": "x" * 20, "output_2": "y" * 20} for row in rows]
    figures = score_annotations(write(alike), difficulty, resamples=3)
    assert figures.lc_win_rate is None and "by the same length" in figures.lc_note
    alike[0]["output_2"] = "y" * 50_000
    figures = score_annotations(write(alike), difficulty, resamples=8)
    assert figures.lc_win_rate is None and "cannot be fitted to these lengths" in figures.lc_note
    assert figures.win_rate == pytest.approx(score_annotations(write(rows)).win_rate)


def test_what_the_judge_chose_among_is_in_the_score(rows: Rows, write: Callable[[Rows], Path]) -> None:
    tops = [{"token": "m", "logprob": math.log(0.6)}, {"token": "x", "logprob": math.log(0.2)}]
    reply = {"logprobs": {"content": [{"top_logprobs": tops}]}}
    held = [{**row, "preference_raw_completion": reply} for row in rows]
    held[0] |= {"preference": None, "preference_raw_completion": None, "no_judgment": "timeout"}
    held[1] |= {"preference": None, "preference_raw_completion": None}
    figures = score_annotations(write(held))
    assert figures.median_mass == pytest.approx(0.75)
    assert figures.not_judged == {"timeout": 1, "cause unknown": 1}
    assert score_annotations(write(rows)).median_mass is None
