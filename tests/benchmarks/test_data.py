"""The pinned data: from the cache when it is there, never another content, a way out when it is not."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.benchmarks.alpaca_data import REFERENCE, REPOSITORY, REVISION
from tasks.benchmarks.data import DataFile, cached, fetch, import_from
from tasks.benchmarks.mt_bench_data import PROMPTS, QUESTIONS, mt_bench_files
from tasks.benchmarks.registry import data_files
from tasks.core.errors import CorruptError, InputError, PermanentError, RetryableError

CONTENT = b"a data file"
FILE = DataFile("file.csv", hashlib.sha256(CONTENT).hexdigest(), repository=REPOSITORY, revision=REVISION)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it is served."""
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "web"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set's folder in an empty cache of the Hub, offline."""
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / f"datasets--{REPOSITORY.replace('/', '--')}" / "snapshots" / REVISION
    folder.mkdir(parents=True)
    return folder


def test_a_cached_file_needs_no_network(snapshot: Path) -> None:
    (snapshot / FILE.name).write_bytes(CONTENT)
    assert fetch(FILE) == cached(FILE) == snapshot / FILE.name


def test_a_changed_file_is_refused(snapshot: Path) -> None:
    (snapshot / FILE.name).write_bytes(CONTENT + b"!")
    for get in (fetch, cached):
        with pytest.raises(CorruptError, match=f"not the pinned {FILE.sha256}"):
            get(FILE)


def test_offline_without_it_the_error_says_how_to_get_it(snapshot: Path) -> None:
    assert cached(FILE) is None
    with pytest.raises(PermanentError, match=f"hf download {REPOSITORY} file.csv --repo-type dataset"):
        fetch(FILE)


def test_a_file_of_the_web_is_fetched_once(web: tuple[Path, str]) -> None:
    folder, url = web
    file = FILE._replace(url=f"{url}/file.csv")
    with pytest.raises(PermanentError, match=r"the server said 404.*expo data fetch --from FOLDER"):
        fetch(file)
    (folder / "file.csv").write_bytes(CONTENT)
    assert cached(file) is None
    assert fetch(file).read_bytes() == CONTENT
    (folder / "file.csv").unlink()
    assert fetch(file) == cached(file) == file.path


def test_another_content_from_the_web_is_never_kept(web: tuple[Path, str]) -> None:
    folder, url = web
    (folder / "file.csv").write_bytes(CONTENT[:-1])
    file = FILE._replace(url=f"{url}/file.csv")
    with pytest.raises(CorruptError, match="not the pinned"):
        fetch(file)
    assert cached(file) is None


def test_a_server_that_is_not_there_may_come_back(web: tuple[Path, str]) -> None:
    with pytest.raises(RetryableError, match="cannot be reached"):
        fetch(FILE._replace(url="http://127.0.0.1:9/file.csv"))


def test_a_folder_gives_what_it_has_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "usb/deep"
    folder.mkdir(parents=True)
    (folder / "renamed.csv").write_bytes(CONTENT)
    (folder / "file.csv").write_bytes(b"another content")
    assert import_from(tmp_path / "usb", (FILE, QUESTIONS)) == (FILE,)
    assert fetch(FILE).read_bytes() == CONTENT
    with pytest.raises(InputError, match="no such folder"):
        import_from(tmp_path / "nowhere", (FILE,))


def test_the_pinned_digests_are_those_of_the_real_files(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    assert {REFERENCE, QUESTIONS, PROMPTS} < set(import_from(data, data_files())) <= set(data_files())
    assert all(path.is_file() for path in mt_bench_files())
    PROMPTS.path.write_bytes(PROMPTS.path.read_bytes() + b"{}\n")
    with pytest.raises(CorruptError, match=r"judge_prompts\.jsonl: its sha256 is"):
        mt_bench_files()
