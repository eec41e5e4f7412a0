"""What a store held before the names of fields changed in the code is read, and written as it was."""

import json

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import judge_fingerprint
from tasks.reports.history import HistoryPoint
from tasks.stats.decision import Verdict

JUDGE = {
    "model": "gpt-4",
    "comparing": {"max_tokens": 1, "temperature": 1, "top_p": 1.0, "top_logprobs": 5},
    "rating": {"max_tokens": 2048, "temperature": 0},
}
ARM = {"score": 20.0, "standard_error": 1.0, "mean_length": 900.0}
VERDICT = {
    "family": "demo",
    "alpha": 0.5,
    "benchmark": "alpaca_eval",
    "judge": "a judge",
    "word": "no evidence",
    "rule": "the 95% interval −1 to +1 includes zero",
    "unit": "percentage points",
    "difference": {
        "mean": 0.0,
        "lower": -1.0,
        "upper": 1.0,
        "standard_error": 0.5,
        "p_value": 1.0,
        "n": 805,
        "detectable": 1.4,
    },
    "p_adjusted": 1.0,
    "compared": 1,
    "original": ARM,
    "expo": ARM,
    "n_judged": 805,
}


def test_a_judge_keeps_the_names_and_the_fingerprint_that_it_had() -> None:
    judge = Judge.model_validate_json(json.dumps(JUDGE))
    assert judge == Judge(model="gpt-4")
    assert judge.model_dump(exclude_none=True)["comparing"]["top_logprobs"] == 5
    assert judge_fingerprint(judge, "alpaca_eval") == judge_fingerprint(Judge(model="gpt-4"), "alpaca_eval")


def test_a_verdict_keeps_its_word() -> None:
    verdict = Verdict.model_validate_json(json.dumps(VERDICT))
    assert verdict.outcome == "no evidence"
    written = json.loads(verdict.model_dump_json())
    assert written["word"] == "no evidence" and "outcome" not in written
    assert VERDICT.items() <= {**written, "original": ARM, "expo": ARM}.items()


def test_the_history_says_word_in_its_json() -> None:
    point = HistoryPoint(
        run="r", created="c", outcome="better", original=1, expo=2, gain=1, lower=0.5, upper=1.5
    )
    assert json.loads(point.model_dump_json())["word"] == "better"
