"""A store that the first layout of this code wrote (commit aaa2e99) is read, and nothing in it is done again.

`first_layout/` holds it: one small family, six questions, answered by an endpoint and judged by the
length of the answers. WRITTEN_BEFORE stands in its files for where it lay.
"""

import shutil
from pathlib import Path

import pytest

from tasks.benchmarks.judge_config import Judge
from tasks.comparison.arm import Arm
from tasks.comparison.decoding import ArmEndpoints, settings_of
from tasks.core.families import Family
from tasks.generate import generate
from tasks.instructions import instructions
from tasks.judge import judge
from tasks.reports.run_report import RunReport
from tasks.stores.artefact import Store
from tasks.stores.open import open_source
from tasks.verdict import verdict
from tasks.weights.folder import model_artefact
from tasks.weights.manifest import read_manifest
from tasks.weights.verify import verify

MADE = Path(__file__).with_name("first_layout")
NOBODY = "http://127.0.0.1:18999/v1"  # nothing has to answer there


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("*.json"):
        path.write_text(path.read_text().replace("WRITTEN_BEFORE", str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return Store(str(tmp_path / "store"))


@pytest.fixture
def family() -> Family:
    return Family(
        name="small",
        aligned="org/aligned",
        sft="org/sft",
        alpha=0.5,
        alpha_source="a test",
        architecture="none",
        instructions="questions.json",
    )


def _files(store: Store) -> dict[str, bytes]:
    root = Path(store.uri)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_its_model_is_found_by_its_recipe_and_whole(store: Store) -> None:
    (name,) = store.names("models")
    content = store.artefact("models", name).manifest()
    assert content
    recipe = read_manifest(content).recipe
    assert model_artefact(store, recipe).uri == store.artefact("models", name).uri
    assert verify(open_source(model_artefact(store, recipe).uri), None).differences == ()


def test_its_answers_judgments_and_verdict_are_not_made_again(store: Store, family: Family) -> None:
    (name,) = store.names("models")
    recipe = read_manifest(store.artefact("models", name).manifest() or b"").recipe
    before = _files(store)
    asked = instructions.fn("questions.json")
    arms = (Arm(name="original", recipe=recipe), Arm(name="expo", recipe=recipe))
    endpoint = ArmEndpoints(base_url=NOBODY, original="original", expo="expo")
    by = Judge(model="longer", base_url=NOBODY)
    judged = []
    for arm in arms:
        (answers,) = generate.fn("again", (arm,), asked, settings_of(family), store.uri, endpoint)
        judged.append(judge.fn(answers, asked, by, store.uri))
    uri = verdict.fn(family, recipe, tuple(judged), (), store.uri)
    assert before.items() <= _files(store).items()
    assert _files(store).keys() - before.keys() == {"expo-store.json"}, "no more than the mark of a store"
    assert uri.startswith(f"{store.uri}/verdicts/")


def test_its_report_is_read(store: Store) -> None:
    content = store.artefact("reports", "clever-otter").read("report.json")
    assert content
    (measured,) = RunReport.model_validate_json(content).verdicts
    assert (measured.outcome, measured.judge, measured.n_judged) == ("no evidence", "longer", 6)
