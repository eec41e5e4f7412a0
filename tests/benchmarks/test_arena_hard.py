"""Arena-Hard v2: the prompts that are sent, the verdicts that are read, the figures against an oracle."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from tasks.benchmarks.arena_hard import BENCHMARK
from tasks.benchmarks.arena_hard_data import HARD, HARD_ANSWERS, QUESTIONS
from tasks.benchmarks.data import import_from
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.pairwise_files import read_pairs
from tasks.benchmarks.pairwise_prompts import SYSTEM, SYSTEM_CREATIVE, verdict_of
from tasks.benchmarks.pairwise_score import score_pairs
from tasks.benchmarks.style_control import (
    style_of,
)
from tasks.comparison.compare import compare
from tasks.core.errors import InputError, PermanentError
from tasks.core.text_files import read_json_lines
from tests.benchmarks.length_judge import answers_shown, by_length
from tests.benchmarks.synthetic import ARENA, arena_answers, take_for_pinned
from tests.parts import lacks
from tests.servers.judge import Body, JudgeServer

Judging = Callable[..., Path]


@pytest.fixture
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    take_for_pinned(monkeypatch)


@pytest.fixture
def judging(tmp_path: Path, judge: Judge, server: JudgeServer) -> Judging:
    """judging(rows, name): judges answers in Arena-Hard's form against the baselines'."""
    server.says = by_length

    def run(rows: list[dict[str, Any]], name: str = "model", questions: Path | None = None) -> Path:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked = questions or BENCHMARK.questions()
        return BENCHMARK.judge(path, asked, judge, tmp_path / f"judging-{name}", advance=lambda _: None)

    return run


def test_the_judge_is_told_what_the_project_tells_it() -> None:
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in (SYSTEM, SYSTEM_CREATIVE)]
    assert digests == [
        "03f68010febd7a6405102ef882b4dd5a9700c56b2e1ff286d3b38f5d3a929bbf",
        "171489efbca7f19fb520e1b3c23783c76af7c723e770fe897a55f391684aa358",
    ]


@pytest.mark.usefixtures("_small")
def test_both_orders_against_the_baseline_of_the_category(judging: Judging, server: JudgeServer) -> None:
    found = judging(arena_answers("mine", ["Short."] * len(ARENA)))
    assert len(server.bodies) == 2 * len(ARENA)
    for body in server.bodies:
        assert body["model"] == "longer" and (body["max_tokens"], body["temperature"]) == (16000, 0)
        system, user = (message["content"] for message in body["messages"])
        creative = "creative_writing" in user
        assert system == (SYSTEM_CREATIVE if creative else SYSTEM)
        baseline = ("Once upon a time. " if creative else "A solution, step by step. ") * 4
        assert sorted(answers_shown(body).values()) == sorted(["Short.", baseline])
    first = [body for body in server.bodies if answers_shown(body)["B"] == "Short."]
    assert len(first) == len(ARENA)  # each pair once in each order
    score = score_pairs(found)
    assert (score.win_rate, score.baseline, score.judge) == (0, "o3-mini, gemini", "longer")
    assert {name: (c.score, c.n) for name, c in score.categories.items()} == {
        "hard_prompt": (0, 16),
        "creative_writing": (0, 8),
    }


@pytest.mark.usefixtures("_small")
def test_strong_verdicts_count_three_times_as_published(judging: Judging, server: JudgeServer) -> None:
    """In the first game B is much better (three wins), in the second B is better (one loss): 3 of 4."""
    server.says = lambda body: "[[B>>A]]" if answers_shown(body)["B"] == "Mine." else "[[B>A]]"
    score = score_pairs(judging(arena_answers("mine", ["Mine."] * len(ARENA))))
    assert score.win_rate == 75 and {c.score for c in score.categories.values()} == {75}


@pytest.mark.usefixtures("_small")
def test_a_game_without_a_verdict_takes_its_prompt_out(judging: Judging, server: JudgeServer) -> None:
    unclear = ARENA[3]["prompt"]

    def says(body: Body) -> str:
        asked = body["messages"][-1]["content"]
        return "I cannot say." if unclear in asked and answers_shown(body)["A"] == "Mine." else "[[A=B]]"

    server.says = says
    path = judging(arena_answers("mine", ["Mine."] * len(ARENA)))
    assert [pair.uid for pair in read_pairs(path) if pair.share is None] == [ARENA[3]["uid"]]
    score = score_pairs(path)
    assert (score.n_total, score.n_failed, score.not_judged) == (23, 1, {"unparsed": 1})
    assert BENCHMARK.count(path).n_unparsed == 1
    with pytest.raises(PermanentError, match="23 of 24 prompts are judged in both orders"):
        score_pairs(path, min_judged=0.99)


@pytest.mark.usefixtures("_small")
def test_the_same_text_is_a_draw_that_nobody_is_asked(judging: Judging, server: JudgeServer) -> None:
    outputs = ["A solution, step by step. " * 4] * 16 + ["Once upon a time. " * 4] * 8
    assert score_pairs(judging(arena_answers("mine", outputs))).win_rate == 50
    assert server.bodies == []


ROW = arena_answers("mine", ["x"] * len(ARENA))


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROW[:-1], "no answer to prompt '0000000000000017': 'Task 23"),
        ([*ROW, ROW[0]], "line 25: prompt '0000000000000000' is answered twice"),
        ([*ROW, {**ROW[0], "uid": "other"}], "line 25 answers prompt 'other', which these prompts do not"),
        ([{"uid": ROW[0]["uid"], "messages": []}, *ROW[1:]], "line 1 is no answer of Arena-Hard's form"),
        (
            [{**ROW[0], "messages": [{"content": "Another?"}, {"content": {"answer": "x"}}]}, *ROW[1:]],
            "line 1: prompt '0000000000000000' has another text there: 'Another\\?'",
        ),
    ],
)
def test_answers_to_something_else_are_refused(
    judging: Judging, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        judging(rows)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("[[A>>B]]", "A>>B"),
        ("first [[A>B]], then [[B>A]]", "B>A"),
        ("my verdict: [b>>a]", "B>>A"),
        ("[[A>B]] and [B>A]", "A>B"),
        ("<think>[[A>B]]</think> [[A=B]]", "A=B"),
        ("<think>[[A>B]]", None),
        ("[[A>>>B]]", None),
        ("A>B", None),
        ("", None),
    ],
)
def test_how_a_verdict_is_read(reply: str, verdict: str | None) -> None:
    assert verdict_of(reply) == verdict


def test_judgments_of_the_project_itself_are_read(tmp_path: Path) -> None:
    """Its files have failed games as null, and no style."""
    rows = [
        {"uid": str(number), "category": "hard_prompt", "judge": "gpt-4.1", "model": "m", "baseline": "b"}
        | {
            "games": [{"score": "A>B", "judgment": {}}, {"score": "B>A"}]
            if number
            else [None, {"score": "A=B"}]
        }
        for number in range(40)
    ]
    path = tmp_path / "model.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    score = score_pairs(path)
    assert (score.win_rate, score.n_total, score.not_judged) == (0, 39, {"cause unknown": 1})
    assert "does not hold the answers' style" in score.style_note and score.style_controlled is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"characters": None}, "line 1: characters 'None'; they are a whole number"),
        ({"characters": "x"}, "line 1: characters 'x'"),
        ({"games": [{"score": ["A>B"]}, None]}, "line 1: verdict "),
    ],
)
def test_a_damaged_file_of_judgments_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    row = {"uid": "1", "judge": "j", "model": "m", "baseline": "b", "games": [{"score": "A>B"}] * 2}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row | change) + "\n")
    with pytest.raises(InputError, match=message):
        score_pairs(path)


@pytest.fixture
def _real(data: Path) -> None:
    """The questions and one baseline's answers, in this session's cache."""
    folder = data / "arena_hard_v2"
    if folder.is_dir():
        import_from(folder, [QUESTIONS, HARD_ANSWERS])
    if not QUESTIONS.path.is_file() or not HARD_ANSWERS.path.is_file():
        lacks("data", "EXPO_TEST_DATA lacks arena_hard_v2: the questions and o3-mini's answers")


@pytest.mark.usefixtures("_real")
def test_style_is_counted_as_in_the_projects_metadata() -> None:
    """The counts that come with all 750 answers of the baseline; lengths are of another tokenizer."""
    for _, row in read_json_lines(HARD_ANSWERS.path):
        counts = style_of(row["messages"][-1]["content"]["answer"])[1:]
        expected = [row["metadata"][f"{name}_count"].values() for name in ("header", "list", "bold")]
        assert counts == tuple(map(sum, expected)), row["uid"]


@pytest.mark.usefixtures("_real")
def test_the_whole_path_on_the_real_prompts(judging: Judging, tmp_path: Path, server: JudgeServer) -> None:
    """60 hard prompts and the baseline's answers, cut to two lengths and judged by length; then an oracle."""
    asked = [row for _, row in read_json_lines(QUESTIONS.path) if row["category"] == HARD][:60]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in asked))
    rows = {row["uid"]: row for _, row in read_json_lines(HARD_ANSWERS.path)}
    arms: dict[str, Path] = {}
    texts: dict[str, list[str]] = {}
    whole = [rows[row["uid"]]["messages"][-1]["content"]["answer"] for row in asked]
    for name, parts in (("original", (2, 5, 9)), ("expo", (4, 12, 21))):  # tenths of the baseline's length
        texts[name] = [(text * 3)[: len(text) * parts[at % 3] // 10] for at, text in enumerate(whole)]
        answers = [
            {**rows[row["uid"]], "model": name}
            | {"messages": [rows[row["uid"]]["messages"][0], {"content": {"answer": text}}]}
            for row, text in zip(asked, texts[name], strict=True)
        ]
        arms[name] = judging(answers, name, questions)
    assert len(server.bodies) == 4 * 60

    def oracle(outputs: list[str]) -> tuple[list[float], float]:
        """Each prompt's share; the published score: won battles of all, twice as long counting thrice."""
        battles = []
        for text, baseline in zip(outputs, whole, strict=True):
            longer, shorter = max(len(text), len(baseline)), min(len(text), len(baseline))
            battles.append([float(len(text) > len(baseline))] * (2 * (3 if longer >= 2 * shorter else 1)))
        every = [battle for of_prompt in battles for battle in of_prompt]
        return [100 * fmean(of_prompt) for of_prompt in battles], 100 * fmean(every)

    expected = {name: oracle(outputs) for name, outputs in texts.items()}
    verdict = compare(arms["original"], arms["expo"]).verdict
    for name, metrics in (("original", verdict.original), ("expo", verdict.expo)):
        shares, published = expected[name]
        assert metrics.score == pytest.approx(fmean(shares))
        assert metrics.categories == {HARD: pytest.approx(published)}
        assert metrics.mean_length == int(fmean(map(len, texts[name])))
    gains = np.subtract(expected["expo"][0], expected["original"][0])
    assert verdict.difference.mean == pytest.approx(gains.mean())
    assert verdict.difference.standard_error == pytest.approx(gains.std(ddof=1) / 60**0.5)
    assert (verdict.outcome, verdict.judge, verdict.n_judged) == ("better", "longer", 60)
    # this judge goes by length, and by nothing else
    assert verdict.lc_gain is None
    assert "style alone tells the won battles from the lost ones" in score_pairs(arms["expo"]).style_note
