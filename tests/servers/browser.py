"""A headless browser, driven by its own debugging protocol.

with open_browser() as browser:
    browser.open("http://127.0.0.1:4200")
    browser.evaluate("document.title"); browser.picture(Path("page.png"))
"""

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.waiting import LIMIT

__all__ = ["CHROMIUM", "Browser", "open_browser"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Browser:
    """One tab of a headless browser, and what it complained about."""

    def __init__(self, socket: Connection) -> None:
        self.socket = socket
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.loaded = False
        self.calls = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": params}))
        while (message := self._receive()).get("id") != self.calls:
            pass
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def open(self, url: str) -> None:
        """Opens a page and waits until it has loaded; what its scripts fetch comes later."""
        self.loaded = False
        self.call("Page.navigate", url=url)
        while not self.loaded:
            self._receive()

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, file: Path) -> None:
        """Takes a picture of what the window shows."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=LIMIT))
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown" or (
            method == "Log.entryAdded" and params["entry"]["level"] == "error"
        ):
            self.errors.append(json.dumps(params))
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        self.loaded = self.loaded or method == "Page.loadEventFired"
        return message


@contextmanager
def open_browser(width: int = 1400, height: int = 1800) -> Iterator[Browser]:
    """A browser of its own, with a profile that is thrown away."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        size = f"--window-size={width},{height}"
        command = [CHROMIUM, *FLAGS, size, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                address = next(line.split()[-1] for line in process.stderr if "DevTools listening on" in line)
                with connect(address, max_size=None) as root:
                    asked = {"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}
                    root.send(json.dumps(asked))
                    target = json.loads(root.recv())["result"]["targetId"]
                with connect(f"{address.rsplit('/', 2)[0]}/page/{target}", max_size=None) as socket:
                    yield Browser(socket)
            finally:
                process.kill()
