"""`expo publish` and `expo verify` with real models, a Hub on loopback and either kind of store."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from tasks.core.errors import InputError
from tasks.publish import publish as publish_stage
from tasks.publishing.publication import publish_with_card
from tasks.reports.run_report import FamilyReport, RunReport
from tasks.reports.stored import FAMILY_REPORT
from tasks.stats.decision import decide
from tasks.stats.metrics import ArmMetrics, ArmResult
from tasks.stores.artefact import MANIFEST, Artefact, Store
from tasks.stores.open import open_source, reopen
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import read_manifest
from tasks.weights.pass_options import PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.signature import SIGNATURE, check_public_key, sign
from tasks.weights.verify import verify
from tests.flows.cli.command import Command, Done
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.waiting import LIMIT
from tests.weights.checkpoints import pair
from tests.weights.test_signature import make_keys

REPO = "lab/expo-model"


@pytest.fixture
def model(hub: HubServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artefact:
    """A model whose parents are on the Hub; the aligned one's card names its license."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    _, aligned, sft = pair(tmp_path / "pair")
    (aligned.folder() / "README.md").write_text("---\nlicense: mit\n---\n")
    hub.add("org/aligned", aligned.folder())
    hub.add("org/sft", sft.folder())
    new, old = open_source("org/aligned"), open_source("org/sft")
    recipe = Recipe(aligned=new.checkpoint, sft=old.checkpoint, alpha=0.3)
    made = store.artefact("models", recipe.fingerprint[:16])
    extrapolate(make_plan(recipe, new, old), new, old, made, options=PassOptions(inputs="stream"))
    return made


def test_published_model_verifies_from_the_hub(hub: HubServer, model: Artefact, tmp_path: Path) -> None:
    """Its files by ranges, its tensors from the parents; no weights on this disk."""
    published = publish_with_card(model, REPO)
    data = ModelCard(hub.repos[REPO].head.files["README.md"].content.decode()).data
    assert data.get("license") == "mit"
    assert data.get("base_model") == ["org/aligned", "org/sft"]

    for uri in (REPO, f"{REPO}@{published.commit}", model.uri):
        found = verify(open_source(uri), reopen, "all")
        assert (found.differences, found.files, len(found.tensors)) == ((), 5, 4)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_signature_goes_along_and_is_made_once(hub: HubServer, model: Artefact, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "keys")
    unsigned = publish_with_card(model, REPO)
    signed = publish_with_card(model, REPO, sign_with=private)
    assert signed != unsigned
    assert publish_with_card(model, REPO, sign_with=private) == signed
    assert verify(open_source(REPO), public_key=check_public_key(public)).differences == ()

    sign(model, private)
    publish_with_card(model, "lab/other")
    held = hub.repos["lab/other"].head.files[SIGNATURE].content
    assert held == model.read(SIGNATURE)
    assert verify(open_source("lab/other"), reopen, "all").differences == ()


def test_changed_repository_does_not_verify(hub: HubServer, model: Artefact) -> None:
    publish_with_card(model, REPO)
    repo = hub.repos[REPO]
    shard = next(name for name in repo.head.files if name.endswith(".safetensors"))
    files = {name: blob.content for name, blob in repo.head.files.items()}
    hub.add(REPO, files | {shard: files[shard][:-1] + b"\x00", "extra.bin": b"?"})
    found = verify(open_source(REPO)).differences
    assert [(difference.kind, difference.file) for difference in found] == [
        ("sha256", shard),
        ("unknown file", "extra.bin"),
    ]


@pytest.fixture
def run(hub: HubServer, store: Store, expo: Command, tmp_path: Path) -> Command:
    """The command: with a store on S3 in a process of its own, as users run it, with a folder in this one."""

    def in_a_process(*arguments: str) -> Done:
        command = [sys.executable, "-m", "flows.cli", *arguments]
        environment = os.environ | hub.environment(tmp_path / "home", WRITE_TOKEN)
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment)
        return Done(done.returncode, done.stdout, done.stderr)

    return in_a_process if store.uri.startswith("s3:") else expo


@pytest.mark.slow
def test_the_commands(hub: HubServer, model: Artefact, store: Store, run: Command) -> None:
    """Public only when asked for; twice makes one commit; and gc finds nothing in a tidy store."""
    done = run("publish", model.uri, REPO)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/{REPO}/tree/{hub.repos[REPO].head.sha}: private, with no verdicts" in done.stdout
    assert hub.repos[REPO].private
    assert run("publish", model.uri, REPO).returncode == 0
    assert len(hub.repos[REPO].commits) == 2
    refused = run("publish", model.uri, REPO, "--public")
    assert (refused.returncode, "private already" in refused.stderr) == (2, True)

    checked = run("verify", REPO)
    assert checked.returncode == 0, checked.stderr
    assert "5 files and 4 tensors (computed again by numpy) are as they should be" in checked.stdout
    tidy = run("gc", store.uri, "--older-than", "0")
    assert "0 orphans" in tidy.stdout or "cache" in tidy.stdout


def _report(model: Artefact) -> RunReport:
    """A run with a verdict on this model: thirty instructions, ten points better."""
    before = np.linspace(20, 60, 30)
    original, expo = (
        ArmMetrics(score=scores.mean(), standard_error=1.5, mean_length=900.0)
        for scores in (before, before + 10)
    )
    verdict = decide(
        "demo",
        0.3,
        "alpaca_eval",
        "demo:rule",
        ArmResult(metrics=original, scores=dict(enumerate(before))),
        ArmResult(metrics=expo, scores=dict(enumerate(before + 10)), lc_note="its data file is not here"),
        unit="percentage points",
    )
    recipe = read_manifest(model.manifest() or b"").fingerprint
    family = FamilyReport(family="demo", alpha=0.3, verdicts=(verdict,), settings={"recipe": recipe})
    return RunReport(
        name="run", created="2026-11-23T23:41:07+00:00", code_version="0.1.0", families=(family,)
    )


def test_a_verdict_after_the_publication(
    hub: HubServer, model: Artefact, store: Store, expo: Command
) -> None:
    """The card is the one file that changes, once; and a verdict on it is never taken away again."""
    recipe, report = read_manifest(model.manifest() or b"").recipe, _report(model)
    publish_stage.fn(recipe, REPO, None, store.uri)
    of_run, of_family = store.artefact("reports", "run"), store.artefact("verdicts", "demo")
    of_run.write("report.json", report.model_dump_json().encode())
    of_run.write(MANIFEST, b"{}")
    of_family.write(FAMILY_REPORT, report.families[0].model_dump_json().encode())
    repo = hub.repos[REPO]
    hub.log.clear()
    for _ in range(2):
        publish_stage.fn(recipe, REPO, of_family.uri, store.uri)
        assert len(repo.commits) == 3
    done = expo("publish", model.uri, REPO)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/{REPO}/tree/{repo.head.sha}: private, with 1 verdicts" in done.stdout
    publish_stage.fn(recipe, REPO, None, store.uri)  # by a run that judges nothing
    assert len(repo.commits) == 3
    assert hub.asked("POST .*/lfs/objects/batch") == hub.asked("PUT ") == 0

    before, after = (commit.files for commit in repo.commits[1:])
    assert {name for name in after if after[name] != before.get(name)} == {"README.md"}
    (result,) = ModelCard(after["README.md"].content.decode()).data.get("eval_results")
    assert (result.metric_name, result.metric_value) == ("win rate, judged by demo:rule", 50.0)


def test_no_model_is_refused(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no manifest, so there is no whole model"):
        publish_with_card(Artefact(str(tmp_path)), REPO)
    assert REPO not in hub.repos
