"""How large the page of a whole run is, how long it takes to build, and to be seen in a browser.

    python -m tests.performance.report_page                          14 families × 805 answers × 2 benchmarks
    python -m tests.performance.report_page --families 2 --answers 20

Prints the size of report.html and report.json, the CPU and wall seconds of building and of reading them, and,
with a Chromium, the seconds until the first paint, until the answers can be read, and of changing the family.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tasks.benchmarks.rows import AnswerRow, Dialogue, DialogueTurn
from tasks.core.families import registry
from tasks.core.timeline import StageTimes, Timeline
from tasks.reports.html import render_html
from tasks.reports.norms import TensorNorm
from tasks.reports.run_report import FamilyReport, RunReport, StageCost
from tasks.stats.decision import Verdict, decide
from tasks.stats.metrics import ArmMetrics, ArmResult

__all__ = ["CREATED", "NAME", "main", "make_report"]

NAME, CREATED = "a run of all families", "2026-11-23T23:41:07+00:00"
CHARACTERS = 2000  # of an answer, as the families' are
QUESTIONS = 400  # characters of a question
PAINT = (
    "performance.getEntriesByType('paint').find(entry => entry.name === 'first-contentful-paint').startTime"
)
CHANGE = (
    "(() => { const begin = performance.now(), set = document.getElementById('set'); "
    "set.selectedIndex = set.options.length - 1; set.dispatchEvent(new Event('change')); "
    "document.body.offsetHeight; return performance.now() - begin; })()"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what the page takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", type=int, default=14)
    parser.add_argument("--answers", type=int, default=805)
    options = parser.parse_args(arguments)
    report = make_report(options.families, options.answers)
    with _timed("report.json written"):
        content = report.model_dump_json(indent=1)
    with _timed("report.json read"):
        RunReport.model_validate_json(content)
    with _timed("report.html built"):
        page = render_html(report)
    print(f"report.json {len(content.encode()) / 1e6:.1f} MB, report.html {len(page.encode()) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "report.html"
        file.write_text(page)
        _see(file)


def make_report(families: int, answers: int) -> RunReport:
    """A run over so many families of the registry, with AlpacaEval and MT-Bench answers of a usual length."""
    names = [name for name in registry() if name != "demo"]
    chosen = [names[number % len(names)] for number in range(families)]
    made = tuple(_family(name, number, answers) for number, name in enumerate(chosen))
    return RunReport(
        name=NAME,
        created=CREATED,
        code_version="0.2.0",
        families=made,
        timelines=tuple(_timeline(family.family) for family in made),
    )


def _family(name: str, seed: int, answers: int) -> FamilyReport:
    rng = np.random.default_rng(seed)
    text = "".join(chr(97 + letter) if letter < 26 else " " for letter in rng.integers(0, 31, 2 * CHARACTERS))

    def some(number: int, length: int) -> str:
        start = number * 7 % CHARACTERS
        return f"{number} {text[start : start + length]}"

    rows = tuple(
        AnswerRow(
            instruction=f"question {number} " + "of the benchmark " * (QUESTIONS // 17),
            original=some(2 * number, CHARACTERS),
            expo=some(2 * number + 1, CHARACTERS),
            reference=f"reference {number} " + "as published " * (CHARACTERS // 13),
            original_preference=float(rng.uniform()),
            expo_preference=float(rng.uniform()),
        )
        for number in range(answers)
    )
    dialogues = tuple(
        Dialogue(
            question_id=number,
            category="writing",
            turns=tuple(
                DialogueTurn(
                    question=f"question {number}, turn {turn}",
                    reference="",
                    original=some(number + turn, CHARACTERS),
                    expo=some(number - turn, CHARACTERS),
                    original_rating=7.0,
                    expo_rating=8.0,
                    original_judgment="The answer is helpful. Rating: [[7]]",
                    expo_judgment="The answer is very helpful. Rating: [[8]]",
                )
                for turn in (1, 2)
            ),
        )
        for number in range(answers // 2)
    )
    return FamilyReport(
        family=name,
        alpha=0.3,
        verdicts=(_verdict(name, "alpaca_eval", rng, 100), _verdict(name, "mt_bench", rng, 10)),
        norms=tuple(
            TensorNorm(name=f"model.layers.{layer}.{module}.weight", aligned=50.0, delta=0.1 + layer / 100)
            for layer in range(32)
            for module in ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
        ),
        costs=(StageCost(stage="judge AlpacaEval 2.0, expo α=0.3", seconds=75.0, requests=answers),),
        answers=rows,
        dialogues=dialogues,
    )


def _verdict(name: str, benchmark: str, rng: np.random.Generator, top: int) -> Verdict:
    before = rng.uniform(0.2 * top, 0.6 * top, size=160)
    after = before + rng.normal(0.03 * top, 0.1 * top, size=160)
    arms = [
        ArmResult(
            metrics=ArmMetrics(score=float(x.mean()), standard_error=1.0, mean_length=1500.0),
            scores=dict(enumerate(x.tolist())),
        )
        for x in (before, after)
    ]
    return decide(name, 0.3, benchmark, "gpt-4.1", *arms, unit="points")


def _timeline(family: str) -> Timeline:
    stages = ("download", "extrapolate", "upload", "generate", "judge")
    rows = tuple(
        StageTimes(stage=stage, label=stage, work=((100.0 * number, 100.0 * number + 150),))
        for number, stage in enumerate(stages)
    )
    return Timeline(family=family, seconds=560, rows=rows)


def _see(file: Path) -> None:
    """Opens the page in a Chromium, if there is one."""
    from tests.servers.browser import CHROMIUM, open_browser

    if CHROMIUM is None:
        print("no Chromium here: the page was not opened")
        return
    with open_browser() as browser:
        begin = time.monotonic()
        browser.open(file.as_uri())
        loaded = time.monotonic() - begin
        painted, changed = browser.evaluate(PAINT), browser.evaluate(CHANGE)
        heap = browser.evaluate("performance.memory.usedJSHeapSize")
    print(
        f"first paint {painted / 1e3:.2f} s, answers there {loaded:.2f} s, another family "
        f"{changed / 1e3:.2f} s, script's memory {heap / 1e6:.0f} MB"
    )


@contextmanager
def _timed(what: str) -> Iterator[None]:
    cpu, wall = time.process_time(), time.monotonic()
    yield
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    print(f"{what:24}{cpu:8.2f} CPU s{wall:8.2f} s", flush=True)


if __name__ == "__main__":
    main()
