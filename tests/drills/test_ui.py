"""Drill 5: Prefect's UI in a headless browser: the form of a run, its graph, its artifacts.

The pictures are for people to look at: in $EXPO_SCREENSHOTS, or in the test's folder.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.drills.stage import Stage
from tests.servers.prefect import end

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--hide-scrollbars",
    "--window-size=1400,1800",
)
PATIENCE_MS = 20_000  # of the page's own clock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.drill,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: the UI cannot be opened"),
]


def test_form_graph_and_artifacts(stage: Stage, tmp_path: Path) -> None:
    worker = stage.worker("ui")
    try:
        run = stage.ended(stage.begin("expo/all-models", families=["internlm2-chat-20b"], benchmarks=[]))
    finally:
        end(worker)
    assert run.state and run.state.is_completed(), stage.log("ui")
    site = stage.prefect.url.removesuffix("/api")
    pictures = Path(os.environ.get("EXPO_SCREENSHOTS") or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)

    form = _open(f"{site}/deployments/deployment/{run.deployment_id}/run", pictures / "form.png", tmp_path)
    for words in ("families", "judge", "Names of the registry", "zephyr-7b-alpha", "deployment"):
        assert words in form, f"{words!r} is not in the form"
    graph = _open(f"{site}/runs/flow-run/{run.id}", pictures / "run.png", tmp_path)
    assert run.name in graph and "Completed" in graph
    artifacts = _open(f"{site}/artifacts", pictures / "artifacts.png", tmp_path)
    assert "expo-families" in artifacts and "expo-report" in artifacts


def _open(url: str, picture: Path, profile: Path) -> str:
    """Takes a picture of a page, and gives the page as it is then."""
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={profile}/chromium",
        f"--virtual-time-budget={PATIENCE_MS}",
    ]
    subprocess.run([*command, f"--screenshot={picture}", url], check=True, capture_output=True, timeout=180)
    done = subprocess.run(
        [*command, "--dump-dom", url], check=True, capture_output=True, text=True, timeout=180
    )
    assert picture.stat().st_size > 10_000, f"{picture} is empty"
    return done.stdout
