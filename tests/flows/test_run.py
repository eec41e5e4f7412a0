"""The main job for real: a Prefect server, a worker, vLLM, alpaca_eval; then the same under kill -9.

One run of the deployment is the undisturbed one, whose bytes the others are compared with.
"""

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tasks.reports.run_report import RunReport
from tests.servers.prefect import bootstrap, prefect, serve_worker
from tests.waiting import LIMIT, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("demo_pair")]

RUN = ["deployment", "run", "expo/all-models", "--watch", "-p", 'families=["demo"]']


@pytest.fixture(scope="module")
def undisturbed(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store after the commands of the README."""
    folder = tmp_path_factory.mktemp("worker")
    bootstrap(prefect_server)
    with serve_worker(prefect_server, "expo", folder):
        said = prefect(prefect_server, *RUN)
    assert "Completed" in said, (folder / "worker.log").read_text()
    return folder / "expo-store"


def test_deployment_ends_with_a_verdict(undisturbed: Path) -> None:
    report = _report(undisturbed)
    verdict = report.families[0].verdicts[0]
    assert verdict.outcome == "better"
    assert verdict.n_judged == 400 and verdict.n_failed == 0
    assert verdict.judge == "demo-rule"
    assert len(report.families[0].answers) == 400


def test_model_is_sealed_with_the_aligned_side_files(undisturbed: Path) -> None:
    from tasks.demo.provider import find

    (model,) = (undisturbed / "models").iterdir()
    aligned = find("demo:aligned")
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (model / name).read_bytes() == (aligned / name).read_bytes()
    manifest = json.loads((model / "manifest.json").read_text())
    assert {file["name"]: file["sha256"] for file in manifest["files"]} == {
        path.name: _sha256(path) for path in model.iterdir() if path.name != "manifest.json"
    }


def test_artifacts_reach_the_ui(undisturbed: Path, prefect_server: str) -> None:
    query = Request(f"{prefect_server}/artifacts/latest/filter", b"{}", {"Content-Type": "application/json"})
    with urlopen(query, timeout=LIMIT) as answer:
        artifacts = {artifact["key"]: artifact for artifact in json.load(answer)}
    assert "| demo | 0.5 | better |" in artifacts["expo-report"]["data"]
    assert not {"expo-page", "expo-verdicts", "expo-families"} & artifacts.keys()


def test_server_refuses_a_family_that_is_not_there(undisturbed: Path, prefect_server: str) -> None:
    command = [sys.executable, "-m", "prefect", "deployment", "run", "expo/all-models"]
    done = subprocess.run(
        [*command, "-p", 'families=["nobody"]'],
        env=os.environ | {"PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "nobody" in done.stdout + done.stderr


def test_again_does_nothing_twice(undisturbed: Path, prefect_server: str) -> None:
    before = _times(undisturbed)
    said = _expo(prefect_server, undisturbed)
    assert said.returncode == 0, said.stderr
    assert "better" in said.stdout and "report.html" in said.stdout
    assert before.items() <= _times(undisturbed).items()


def test_killed_in_generation_ends_in_the_same_bytes(
    undisturbed: Path, prefect_server: str, tmp_path: Path
) -> None:
    """kill -9 when the first batch of answers is in the journal, then the same command again."""
    store = tmp_path / "store"
    process = subprocess.Popen(
        _command(store), env=os.environ | {"PREFECT_API_URL": prefect_server}, start_new_session=True
    )
    wait_until(
        lambda: any(_answered(path) for path in store.glob("generations/*/answers.jsonl")),
        "a batch of answers",
        every=0.02,
    )
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not _engines(store), "the engine's end")
    unfinished = [path.parent for path in store.glob("generations/*/answers.jsonl")]
    assert any(not (folder / "manifest.json").exists() for folder in unfinished)
    journals = {
        folder: _first_batch(folder / "answers.jsonl")
        for folder in unfinished
        if _answered(folder / "answers.jsonl")
    }

    assert _expo(prefect_server, store).returncode == 0
    assert _digests(store) == _digests(undisturbed)
    assert all(_first_batch(folder / "answers.jsonl") == line for folder, line in journals.items())


def _command(store: Path) -> list[str]:
    return [sys.executable, "-m", "flows.cli", "run", "demo", "--store", str(store)]


def _expo(server: str, store: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PREFECT_API_URL": server}
    return subprocess.run(_command(store), env=environment, capture_output=True, text=True, timeout=LIMIT)


def _report(store: Path) -> RunReport:
    (report,) = store.glob("reports/*/report.json")
    return RunReport.model_validate_json(report.read_bytes())


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _digests(store: Path) -> dict[str, str]:
    """Of everything that a run computes: weights, answers, judgments."""
    patterns = ("models/*/*.safetensors", "generations/*/answers.json", "judgments/*/annotations.json")
    return {
        str(path.relative_to(store)): _sha256(path) for pattern in patterns for path in store.glob(pattern)
    }


def _times(store: Path) -> dict[Path, int]:
    """When each finished file was written; reports are made anew by every run."""
    finished = [path for path in store.rglob("*") if path.is_file() and "reports" not in path.parts]
    return {path: path.stat().st_mtime_ns for path in finished}


def _answered(journal: Path) -> bool:
    """Whether the header and a batch are there."""
    return journal.read_bytes().count(b"\n") >= 2


def _first_batch(journal: Path) -> bytes:
    """The header and the first batch, with the seconds that it took: equal only if not done again."""
    return b"".join(journal.read_bytes().splitlines(keepends=True)[:2])


def _engines(store: Path) -> list[str]:
    """Engine processes that hold a log of this store open."""
    held = []
    for entry in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            held.append(str(entry.readlink()))
        except OSError:
            continue
    return [name for name in held if name.startswith(str(store))]
