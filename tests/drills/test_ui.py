"""Drill 5: Prefect's UI in a headless browser: the form of a run, its graph, its artifacts.

The pictures are for people to look at: in $EXPO_SCREENSHOTS, or in the test's folder.
"""

import os
from pathlib import Path

import pytest

from tests.drills.stage import Stage
from tests.parts import lacks
from tests.servers.browser import CHROMIUM, Browser, open_browser
from tests.servers.prefect import end
from tests.servers.s3 import BUCKET
from tests.waiting import wait_until

FAMILY, STORE = "internlm2-chat-20b", f"s3://{BUCKET}/ui"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.drill,
]


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    if CHROMIUM is None:
        lacks("browser", "no chromium is installed: the UI cannot be opened")


def test_form_graph_and_artifacts(stage: Stage, tmp_path: Path) -> None:
    worker = stage.worker("ui")
    try:
        begun = stage.begin("expo/all-models", families=[FAMILY], judge=stage.judge, store=STORE)
        run = stage.ended(begun)
    finally:
        end(worker)
    assert run.state and run.state.is_completed(), stage.log("ui")
    site = stage.prefect.url.removesuffix("/api")
    pictures = Path(os.environ.get("EXPO_SCREENSHOTS") or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)
    with open_browser() as browser:
        browser.open(f"{site}/deployments/deployment/{run.deployment_id}/run")
        words = ("families", "Names of the registry", "zephyr-7b-alpha", "judge", "expo-family/gpu")
        _shows(browser, words, pictures / "form.png")
        browser.open(f"{site}/runs/flow-run/{run.id}")
        _shows(browser, (str(run.name), "Completed", "Subflow Runs"), pictures / "run.png")
        browser.open(f"{site}/artifacts/artifact/{stage.artifact(run.id, 'expo-report').id}")
        _shows(browser, (FAMILY, "report.html"), pictures / "report.png")
        browser.open(f"{site}/artifacts")
        _shows(browser, ("expo-report",), pictures / "artifacts.png")


def _shows(browser: Browser, words: tuple[str, ...], picture: Path) -> None:
    """Waits until the page shows all the words, then takes a picture, of a page without them too."""
    page = "document.body.innerText + [...document.querySelectorAll('input, textarea')].map(one => one.value)"

    def missing() -> list[str]:
        shown = browser.evaluate(page)
        return [word for word in words if word not in shown]

    try:
        wait_until(lambda: not missing(), f"{words} on the page")
    finally:
        browser.picture(picture)
    assert not missing()
