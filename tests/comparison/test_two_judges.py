"""Two judges on the same answers as a table, and the warning of a judge that is akin to what it judges."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.benchmarks.judge_presets import find_preset
from tasks.benchmarks.lineage import judge_names, lineage, shared_lineage
from tasks.comparison.compare import compare
from tasks.comparison.two_judges import compare_judges
from tasks.core.errors import InputError
from tasks.core.families import registry
from tasks.reports.sentences import reason
from tests.benchmarks.answers import annotation_rows


def write(path: Path, preferences: Sequence[float | None], **changes: str) -> Path:
    rows = [
        {**row, "preference": preference, **changes}
        for row, preference in zip(annotation_rows(), preferences, strict=False)
    ]
    path.write_text(json.dumps(rows))
    return path


# 40 items: both for the answer, both for the reference, a draw against a choice, and two that disagree
FIRST = [2.0] * 20 + [1.0] * 15 + [1.5] * 2 + [2.0, 1.0] + [None]
SECOND = [2.0] * 20 + [1.0] * 15 + [1.0] * 2 + [1.0, 2.0] + [2.0]


def test_the_table_counts_choices(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", FIRST, annotator="gpt-4.1")
    second = write(tmp_path / "b.json", SECOND, annotator="Qwen3-32B")
    found = compare_judges(first, second)
    assert found.choices == ((15, 0, 1), (2, 0, 0), (1, 0, 20))
    agreement = found.agreement
    assert (agreement.n, agreement.n_failed, agreement.agreement) == (39, 1, 35 / 39)
    chance = (16 * 18 + 2 * 0 + 21 * 21) / 39**2
    assert agreement.kappa == pytest.approx((35 / 39 - chance) / (1 - chance))
    done = CliRunner().invoke(app, ["agreement", str(first), str(second)])
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["reference", "15", "0", "1"] in lines and ["answer", "1", "0", "20"] in lines
    assert "Qwen3-32B agrees with gpt-4.1 in 90% of 39 pairs" in done.output.replace("\n", " ")
    as_json = json.loads(CliRunner().invoke(app, ["agreement", str(first), str(second), "--json"]).output)
    assert as_json["choices"][2] == [1, 0, 20] and as_json["model"] == "model"


def test_other_answers_are_no_comparison_of_judges(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", FIRST)
    for changes in ({"output_2": "another"}, {"generator_2": "another"}):
        with pytest.raises(InputError, match="not the same answers"):
            compare_judges(first, write(tmp_path / "b.json", SECOND, **changes))
    with pytest.raises(InputError, match="judged against two references"):
        compare_judges(first, write(tmp_path / "b.json", SECOND, output_1="another"))


@pytest.mark.parametrize(
    ("name", "houses"),
    [
        ("gpt-4.1", {"OpenAI"}),
        ("o4-mini", {"OpenAI"}),
        ("gemini-2.5-flash", {"Google"}),
        ("Qwen/Qwen3-32B", {"Qwen"}),
        ("meta-llama/Llama-3.3-70B-Instruct@main", {"Meta (Llama)", "meta-llama"}),
        ("HuggingFaceH4/mistral-7b-sft-beta", {"Mistral", "HuggingFaceH4"}),
        ("allenai/tulu-2-dpo-7b", {"Meta (Llama)", "allenai"}),
        ("my-judge", set()),
        ("s3://bucket/model", set()),
        ("demo-rule", set()),
    ],
)
def test_whose_a_model_is_by_its_name(name: str, houses: set[str]) -> None:
    assert lineage([name]) == houses


def test_no_family_of_the_registry_is_akin_to_an_openai_judge() -> None:
    for family in registry().values():
        assert not shared_lineage(["gpt-4.1"], (family.aligned, family.sft, family.architecture))


def test_the_warning_stands_beside_the_figure(tmp_path: Path) -> None:
    akin = Judge(model="served", serve=ServeConfig(checkpoint="mistralai/Mistral-Large"))
    family = registry()["zephyr-7b-beta"]
    said = shared_lineage(judge_names(akin), (family.aligned, family.sft, family.architecture))
    assert said.startswith("served shares a parent or a maker with what it judges (Mistral)")
    assert not shared_lineage(judge_names(find_preset("gpt-4.1")), (family.aligned, family.sft))

    files = [
        write(tmp_path / f"{name}.json", preferences, annotator="Qwen3-32B", generator_2=f"Qwen2-{name}")
        for name, preferences in (("a", FIRST), ("b", SECOND))
    ]
    verdict = compare(*files).verdict
    assert "Beware: Qwen3-32B shares a parent or a maker" in reason(verdict)
    assert "Beware" in CliRunner().invoke(app, ["compare", *map(str, files)]).output
    strangers = verdict.model_copy(update={"warning": ""})
    assert "Beware" not in reason(strangers) and "warning" not in strangers.model_dump()
