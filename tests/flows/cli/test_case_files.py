"""Annotation files as people report them, through the commands: the right figure or one clear line.

Each is made here, after a public report (alpaca_eval#204, #263, #300, #301, #308, #417, #453).
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from flows.cli.main import main
from tests.benchmarks.answers import ITEMS, annotation_rows

Rows = list[dict[str, Any]]


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def expo(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process; whatever is written, by libraries too, is what its user sees."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["expo", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capfd.readouterr()
        assert "Traceback" not in err and "arning" not in err
        return Done(status, out, err)

    return run


def changed(**fields: Any) -> Rows:  # noqa: ANN401
    rows = annotation_rows()
    rows[0] |= fields
    return rows


def without(field: str) -> Rows:
    return [{key: value for key, value in row.items() if key != field} for row in annotation_rows()]


def rate(rows: Rows) -> float:
    return 100 * float(np.mean([row["preference"] - 1 for row in rows]))


def write(path: Path, content: Rows | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


SCORED: dict[str, Rows] = {
    "sound": annotation_rows(),
    "reversed": annotation_rows()[::-1],
    "one item more": [*annotation_rows(), {**annotation_rows()[0], "instruction": "another"}],
    "other fields": [{**row, "time": 0.5, "note": {"a": [None]}} for row in annotation_rows()],
    "half a pair": changed(instruction="half \udc00", output_2="half a pair \ud83d here"),
    "nobody judged": without("annotator"),
    "one item": annotation_rows()[5:6],
}
REFUSED: dict[str, tuple[Rows | bytes, str]] = {
    "a preference of 0": (changed(preference=0), "item 0 has the preference '0'"),
    "of 3": (changed(preference=3), "item 0 has the preference '3'"),
    "of a bit more than 2": (changed(preference=2.0000001), "item 0 has the preference '2.0000001'"),
    "of false": (changed(preference=False), "item 0 has the preference 'False'"),
    "as text": (changed(preference="2"), "item 0 has the preference '2', a text"),
    "from 0 to 1": (
        [{**row, "preference": row["preference"] - 1} for row in annotation_rows()],
        "numbers from 1",
    ),
    "of 5000 digits": (b'[{"preference": ' + b"9" * 5000 + b"}]", "thousands of digits"),
    "an instruction twice": (
        [*annotation_rows(), annotation_rows()[0]],
        "item 40 has the same instruction as item 0",
    ),
    "a key twice": (
        json.dumps(annotation_rows()).encode().replace(b'"preference"', b'"annotator"', 1),
        "twice",
    ),
    "two models": (changed(generator_2="another"), "answers of another and model"),
    "two references": (changed(generator_1="another"), "references of another and reference"),
    "Latin-1": (
        json.dumps(annotation_rows()).encode().replace(b"answer 0", b"caf\xe9"),
        "byte 0xe9 is not UTF-8",
    ),
    "deep": (b"[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", SCORED)
def test_a_file_that_can_be_scored_has_the_right_figure(name: str, expo: Command, tmp_path: Path) -> None:
    rows = SCORED[name]
    done = expo("score", "alpaca_eval", write(tmp_path / "file.json", rows), "--json")
    assert (done.status, done.err) == (0, "")
    assert "NaN" not in done.out
    found = json.loads(done.out)
    assert found["win_rate"] == pytest.approx(rate(rows)) and found["n_total"] == len(rows)
    preferences = [row["preference"] - 1 for row in rows]
    if len(rows) > 1:
        error = 100 * float(np.std(preferences, ddof=1)) / len(rows) ** 0.5
        assert found["standard_error"] == pytest.approx(error)
    else:
        assert found["standard_error"] is None
        assert "because there is one item" in found["standard_error_note"]
        shown = expo("score", "alpaca_eval", tmp_path / "file.json").out
        assert "standard error" in shown and "not available, because there is one item" in shown


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_none_ends_in_one_line(name: str, expo: Command, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    file, other = write(tmp_path / "file.json", content), write(tmp_path / "sound.json", annotation_rows())
    for arguments in (["score", "alpaca_eval", file], ["compare", other, file], ["compare", file, other]):
        done = expo(*arguments)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith(f"error: {file}") and message in done.err


def test_what_both_files_have_is_compared(expo: Command, tmp_path: Path) -> None:
    before, after = (
        annotation_rows("a"),
        [*annotation_rows("b", 0.1), {**annotation_rows("b")[0], "instruction": "another"}],
    )
    done = expo("compare", write(tmp_path / "a.json", before), write(tmp_path / "b.json", after[::-1]))
    assert (done.status, done.err) == (0, "")
    words = " ".join(done.out.split())
    assert f"{rate(before):.2f} → {rate(before) + 10:.2f}" in words and "B − A +10.00" in words
    assert "judged in both 40, 1 not" in words and "not available (all differences are equal)" in words


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            annotation_rows("a"),
            annotation_rows("b")[: ITEMS // 2],
            "20 of 40 items are judged in all of them",
        ),
        (annotation_rows("a")[:1], annotation_rows("b")[:1], "a verdict needs at least two items"),
        (without("annotator"), without("annotator"), "does not say who judged"),
        (
            annotation_rows("a"),
            [{**row, "annotator": "another"} for row in annotation_rows("b")],
            "different judges",
        ),
        (
            annotation_rows("a"),
            [{**row, "generator_1": "another"} for row in annotation_rows("b")],
            "judged against two references",
        ),
    ],
)
def test_two_files_that_cannot_be_compared_end_in_one_line(
    first: Rows, second: Rows, message: str, expo: Command, tmp_path: Path
) -> None:
    done = expo("compare", write(tmp_path / "a.json", first), write(tmp_path / "b.json", second))
    assert done.status in (1, 2) and done.out == "" and done.err.count("\n") == 1
    assert message in done.err


def test_names_in_a_file_reach_the_terminal_without_their_escapes(expo: Command, tmp_path: Path) -> None:
    name = "\x1b[31mred\r\nB against A: better"
    files = [
        write(
            tmp_path / f"{n}.json",
            [{**row, "generator_2": name, "annotator": name} for row in annotation_rows(n)],
        )
        for n in "ab"
    ]
    done = expo("compare", *files)
    assert done.status == 0 and "\x1b" not in done.out and "\r" not in done.out
    assert "\\x1b[31mred B against A: better" in done.out
    assert [line for line in done.out.splitlines() if line.startswith("B against A")] == [
        "B against A: no evidence: the 95% interval 0.00 to 0.00 includes zero."
    ]
