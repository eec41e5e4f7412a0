"""Nights: one with nothing new does nothing again, a fresh one everything; what is wrong reaches people."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.blocks.webhook import Webhook
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from tests.drills.stage import Stage, report_of
from tests.servers.prefect import bootstrap, end
from tests.servers.s3 import BUCKET
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.drill]


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[str]]]:
    """A webhook's address, and the bodies that it gets."""
    bodies: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_night_does_again_what_is_new_and_a_fresh_one_everything(stage: Stage) -> None:
    store = f"s3://{BUCKET}/nights"
    asked = {"families": ["zephyr-7b-alpha"], "judge": stage.judge, "store": store}
    worker = stage.worker("nights")
    try:
        for fresh, generations in ((False, 2), (False, 2), (True, 5)):  # fresh: two arms, and an A/A run
            run = stage.ended(stage.begin("expo-nightly/nightly", fresh=fresh, **asked))
            assert run.state and run.state.is_completed(), stage.log("nights")
            made = {name for name in stage.files("nights") if name.startswith("/generations/")}
            assert len(made) == generations
    finally:
        end(worker)
    (family,) = report_of(stage, run, "nights").families
    assert len(family.verdicts) == len(family.noise) == 1
    assert "1 verdicts compared with earlier runs" in stage.log("nights")


def test_a_night_without_a_verdict_is_an_event(stage: Stage, webhook: tuple[str, list[str]]) -> None:
    address, bodies = webhook
    with temporary_settings({PREFECT_API_URL: stage.prefect.url}):
        Webhook(url=SecretStr(address)).save("people", overwrite=True)
    bootstrap(stage.prefect.url, "--notify", "webhook/people", families=stage.folder / "families.yaml")
    worker = stage.worker("night")
    try:
        run = stage.begin(
            "expo-nightly/nightly", families=["broken"], judge=stage.judge, store=f"s3://{BUCKET}/night"
        )
        ended = stage.ended(run)
        assert ended.state and ended.state.is_failed(), stage.log("night")
        assert ended.name.startswith("nightly-")
        wait_until(lambda: any("expo.nightly.missing" in body for body in bodies), f"a notice in {bodies}")
        assert any("broken: no verdict tonight" in body for body in bodies)
        wait_until(lambda: any("prefect.flow-run.Failed" in body for body in bodies), f"in {bodies}")
    finally:
        end(worker)
