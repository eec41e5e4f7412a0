"""What a judge and its link do wrong, one fault a test; a judging that is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.benchmarks.alpaca_judge import judge_answers
from tasks.benchmarks.alpaca_score import preferences, score_annotations
from tasks.benchmarks.judge_config import Judge
from tasks.core.errors import PermanentError, RetryableError
from tests.benchmarks.answers import LONG, SHORT, rows_of
from tests.servers.judge import JudgeServer, question_of
from tests.waiting import LIMIT

Judging = Callable[..., Path]


@pytest.mark.parametrize("fault", ["429", "500", "drop", "cut", "garbage", "text", "broken"])
def test_what_may_pass_is_asked_again(fault: str, judging: Judging, server: JudgeServer) -> None:
    server.fail(fault, on={3, 8})
    annotations = judging(LONG[:12], SHORT[:12])
    assert len(preferences(annotations)) == 12
    assert len(server.bodies) == 14


@pytest.mark.parametrize(
    ("fault", "message"), [("401", "MY_KEY"), ("404", "model or path"), ("quota", "quota is used up")]
)
def test_what_cannot_pass_stops_at_once_without_showing_the_key(
    fault: str, message: str, judging: Judging, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    monkeypatch.setenv("EXPO_ENDPOINT_KEYS", f"{server.url}=MY_KEY")
    server.fail(fault)
    with pytest.raises(PermanentError, match=message) as raised:
        judging(LONG, SHORT, api_key_env="MY_KEY", retries=0)
    assert "sk-very-secret" not in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__
    assert len(server.bodies) <= 4, "more than what was in flight at the first refusal"


def test_nothing_secret_is_written(
    judging: Judging, server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    monkeypatch.setenv("EXPO_ENDPOINT_KEYS", f"{server.url}=MY_KEY")
    server.fail("400", on={2})
    judging(LONG, SHORT, api_key_env="MY_KEY")
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert written and not any(b"sk-very-secret" in content for content in written)


def test_a_refused_item_is_counted_and_has_no_preference(judging: Judging, server: JudgeServer) -> None:
    server.fail("400", on={"question 7"})
    annotations = judging(LONG, SHORT)
    assert rows_of(annotations)[7]["preference"] is None
    assert "question 7" not in preferences(annotations)
    score = score_annotations(annotations)
    assert (score.n_total, score.n_failed) == (29, 1)
    assert score.win_rate == pytest.approx(90)
    assert len(server.bodies) == 30, "what the judge refuses is not asked again"


def test_a_filter_that_says_403_of_an_item_refuses_that_item(judging: Judging, server: JudgeServer) -> None:
    server.fail("403", on={"question 7"})
    rows = rows_of(judging(LONG, SHORT))
    assert [row["preference"] is None for row in rows] == [index == 7 for index in range(30)]
    assert rows[7]["no_judgment"] == "refused"


def test_a_key_that_may_not_use_the_model_ends_the_judging_early(
    judging: Judging, server: JudgeServer
) -> None:
    server.fail("403")
    with pytest.raises(PermanentError, match=r"20 requests in a row failed.*may this key use the model\?"):
        judging(LONG, SHORT)
    assert len(server.bodies) < 30


def test_what_the_package_logs_of_an_item_is_counted_and_not_logged(
    judging: Judging, server: JudgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail("400", on={"question 7"})
    judging(LONG, SHORT)
    assert caplog.records == []


@pytest.mark.parametrize(("fault", "error"), [("400", PermanentError), ("500", RetryableError)])
def test_too_few_judgments_give_no_file_and_are_asked_for_again(
    fault: str, error: type[Exception], judging: Judging, server: JudgeServer, tmp_path: Path
) -> None:
    hard = {f"question {index}" for index in range(4)}
    server.fail(fault, on=hard)
    with pytest.raises(error, match="26 of 30 items were judged"):
        judging(LONG, SHORT, retries=0)
    assert not (tmp_path / "judging/annotations.json").exists()
    server.bodies.clear()
    server.fail(None)
    judging(LONG, SHORT)
    assert {question_of(body) for body in server.bodies} == hard


def test_a_model_that_gives_no_judgments_is_not_paid_to_the_end(
    judging: Judging, server: JudgeServer
) -> None:
    server.fail("garbage")
    with pytest.raises(PermanentError, match=r"20 requests in a row failed; no judgment in the answer '\?'"):
        judging(LONG, SHORT, max_concurrency=1)
    assert len(server.bodies) < 30


def test_a_judge_that_is_not_there_is_named(judging: Judging) -> None:
    with pytest.raises(RetryableError, match=r"http://127\.0\.0\.1:9/v1: it cannot be reached"):
        judging(LONG, SHORT, base_url="http://127.0.0.1:9/v1", retries=0)


def test_a_judge_that_hangs_is_given_up(judging: Judging, server: JudgeServer) -> None:
    server.fail("hang")
    with pytest.raises(RetryableError, match=r"no answer within 0\.3 s"):
        judging(LONG[:3], SHORT[:3], timeout_s=0.3, retries=0, rounds=1)


def test_progress_counts_every_item_once(judge: Judge, judging: Judging, tmp_path: Path) -> None:
    judging(["same", *LONG[:9]], ["same", *SHORT[:9]])
    done: list[int] = []
    files = (tmp_path / "answers.json", tmp_path / "reference.json")
    judge_answers(*files, judge, tmp_path / "new", advance=done.append)
    judge_answers(*files, judge, tmp_path / "judging", advance=done.append)
    assert sum(done) == 20


CHILD = """
import sys
from pathlib import Path
from tasks.benchmarks.alpaca_judge import judge_answers
from tasks.benchmarks.judge_config import Judge
judge = Judge(model="longer", base_url=sys.argv[4], max_concurrency=4, retries=0)
judge_answers(Path(sys.argv[1]), Path(sys.argv[2]), judge, Path(sys.argv[3]), advance=lambda done: None)
"""


@pytest.mark.slow
def test_a_killed_judging_pays_again_only_for_what_was_in_flight(
    judging: Judging, server: JudgeServer, tmp_path: Path
) -> None:
    expected = judging(LONG, SHORT).read_bytes()
    server.bodies.clear()
    server.fail("hang", on=range(21, 100))
    child = [sys.executable, "-c", CHILD]
    files = [str(tmp_path / name) for name in ("answers.json", "reference.json", "killed")]
    with subprocess.Popen([*child, *files, server.url]) as process:
        for _ in range(4):
            assert server.hung.acquire(timeout=LIMIT)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed/annotations.json").exists()
    assert len(server.bodies) == 24
    server.fail(None)
    subprocess.run([*child, *files, server.url], check=True)
    assert len(server.bodies) == 30 + 4, "more than the four in flight was paid for again"
    assert (tmp_path / "killed/annotations.json").read_bytes() == expected
