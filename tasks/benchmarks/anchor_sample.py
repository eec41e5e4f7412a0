"""Anchors: a sample of stored annotations is judged again, to measure a judge against an earlier one.

    found = measure(Path("annotations.json"), judge, folder, sample=200, advance=…)
    compared(earlier, later)                  two annotation files over the same pairs

The published figures' judge, gpt-4-1106-preview, is gone; its annotations are not. How far
today's judge agrees with them says how far today's figures may be read beside the published
ones; and the same judge, asked the same on another day, shows whether it has drifted.
"""

import random
from collections.abc import Callable
from pathlib import Path

from tasks.benchmarks.alpaca_files import Row, read_annotations, write_rows
from tasks.benchmarks.alpaca_judge import judge_answers
from tasks.benchmarks.alpaca_score import judge_of, preferences
from tasks.benchmarks.judge_config import Judge
from tasks.core.errors import InputError
from tasks.stats.agreement import Agreement, agree

__all__ = ["SAMPLE", "compared", "measure"]

SAMPLE = 200  # at $0.01 each, what gpt-4-1106-preview cost, two dollars


def measure(
    annotations: Path, judge: Judge, folder: Path, *, sample: int = SAMPLE, advance: Callable[[int], None]
) -> Agreement:
    """Judges a sample of a file's pairs again, and compares. The judging lies in `folder`.

    sample  pairs that are asked, at most; which ones, the file and the number decide

    Raises:
        InputError: the file is not of AlpacaEval's form, or fewer than two of its pairs were judged.
        RetryableError, PermanentError: as in `judge_answers`.
    """
    rows = _sampled(annotations, sample)
    folder.mkdir(parents=True, exist_ok=True)
    reference, answers = folder / "reference.json", folder / "answers.json"
    write_rows([_output(row, 1) for row in rows], reference)
    write_rows([_output(row, 2) for row in rows], answers)
    return compared(annotations, judge_answers(answers, reference, judge, folder, advance=advance))


def compared(earlier: Path, present: Path) -> Agreement:
    """How far the judge of one annotation file is from that of another, on the pairs of the second.

    Raises:
        InputError: a pair of `present` is not in `earlier`, or its outputs are others.
    """
    before, now = read_annotations(earlier), read_annotations(present)
    texts = {row["instruction"]: (row["output_1"], row["output_2"]) for row in before}
    for row in now:
        if texts.get(row["instruction"]) != (row["output_1"], row["output_2"]):
            raise InputError(
                f"{present}: {row['instruction'][:60]!r} has other outputs in {earlier}, or is not in it; "
                "judges are compared on the same pairs only"
            )
    first, second = preferences(earlier), preferences(present)
    asked = [row["instruction"] for row in now if row["instruction"] in first]
    both = [instruction for instruction in asked if instruction in second]
    return agree(
        judge_of(before),
        judge_of(now),
        [first[pair] for pair in both],
        [second[pair] for pair in both],
        n_failed=len(asked) - len(both),
    )


def _sampled(annotations: Path, sample: int) -> list[Row]:
    """Pairs that were judged, in the file's order; the same text twice is no question to a judge."""
    judged = preferences(annotations)
    rows = [row for row in read_annotations(annotations) if row["instruction"] in judged]
    rows = [row for row in rows if row["output_1"] != row["output_2"]]
    if len(rows) < 2:
        raise InputError(f"{annotations}: fewer than two of its pairs were judged; give another file")
    chosen = sorted(random.Random(0).sample(range(len(rows)), min(sample, len(rows))))
    return [rows[index] for index in chosen]


def _output(row: Row, side: int) -> Row:
    generator = row.get(f"generator_{side}", "unknown")
    return {"instruction": row["instruction"], "output": row[f"output_{side}"], "generator": generator}
