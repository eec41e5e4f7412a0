"""A Hugging Face Hub on loopback, for the real client: repositories, LFS, ranges, commits, faults.

    with HubServer() as hub:
        commit = hub.add("org/name", {"config.json": b"{}", "model.safetensors": content})
        hub.fail("drop", on="GET /cdn/", times=1)      the first transfer of a large file breaks off
        ...
        assert hub.asked("GET /cdn/") == 2

On its own, over a folder of repositories (`FOLDER/org/name/config.json` …), until it is interrupted:

    python -m tests.servers.hub --folder FOLDER          prints the variables that reach it

The client reads its settings when it is imported. So a test in this process patches what it read
(`use_in_this_process`, as the fixture `hub` of tests/stores does), and a test with a process of its
own starts it with `hub.environment(cache)`.

Covered: model info, tree, resolve (LFS files redirect to another host name, as the real ones do),
range requests, tags, branches, gated and private repositories, create_repo, preupload, LFS batch,
commits with parentCommit, copies in them. Not covered: Xet, pull requests, datasets and spaces.
"""

import argparse
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import uvicorn

from tests.servers.hub_repos import HubState
from tests.servers.hub_routes import WRITE_TOKEN, application

__all__ = ["WRITE_TOKEN", "HubServer", "use_in_this_process"]


@dataclass
class HubServer(HubState):
    """The server, in a thread of this process, on a free port of 127.0.0.1."""

    port: int = 0

    def __enter__(self) -> Self:
        config = uvicorn.Config(application(self), host="127.0.0.1", port=self.port, log_level="critical")
        self._server = uvicorn.Server(config)
        socket = config.bind_socket()
        socket.listen()  # from here on a client waits instead of being refused
        self.port = socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([socket],), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, cache: Path, token: str | None = None) -> dict[str, str]:
        """What a process of its own needs to use this Hub and this cache."""
        token_given = {"HF_TOKEN": token} if token else {}
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"} | token_given


def main() -> None:
    """Serves a folder of repositories, each with one commit of what lies in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.hub", description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="holds org/name/… for each repository")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    asked = parser.parse_args()
    hub = HubServer(port=asked.port)
    for repo_id, commit in hub.add_all(asked.folder).items():
        print(f"# {repo_id} {commit}")
    signal.signal(signal.SIGTERM, lambda *_: None)  # ends the pause below
    with hub:
        print(f"HF_ENDPOINT={hub.url}\nHF_HUB_DISABLE_XET=1", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return


def use_in_this_process(monkeypatch: pytest.MonkeyPatch, hub: HubServer, cache: Path) -> None:
    """Points the imported client at this Hub and an empty cache, logged out, until the test ends."""
    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": str(cache / "no-token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in settings.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


if __name__ == "__main__":
    main()
