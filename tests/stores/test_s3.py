"""What goes wrong with S3, one fault a test, against a real server."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.core.errors import CorruptError, InputError, PermanentError, RetryableError
from tasks.stores import s3 as s3_module
from tasks.stores.artefact import STORE_MARK, Store
from tasks.stores.gc import find_orphans, remove
from tasks.stores.s3 import S3Files, filesystem, forget_clients
from tests.servers.s3 import BUCKET, S3Server
from tests.servers.slow_link import SlowLink
from tests.waiting import wait_until

PART_BYTES = 5 * 1024**2  # the least that S3 takes
LARGE = os.urandom(PART_BYTES) * 6
SLOW = 2e6  # bytes a second: an upload of LARGE takes fifteen seconds
UPLOAD = """
import sys
from pathlib import Path
from tasks.stores import s3
s3.PART_BYTES, s3.PARTS_AT_ONCE = 5 * 1024**2, 1
s3.S3Files(sys.argv[1]).copy_in(Path(sys.argv[2]), "model.safetensors")
"""


@pytest.fixture
def files(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Files:
    """Objects in parts of 5 MB, sent one after the other."""
    monkeypatch.setattr(s3_module, "PART_BYTES", PART_BYTES)
    monkeypatch.setattr(s3_module, "PARTS_AT_ONCE", 1)
    return S3Files(f"s3://{BUCKET}/{uuid4().hex}")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def test_multipart_upload_and_ranged_download(files: S3Files, large: Path, tmp_path: Path) -> None:
    files.copy_in(large, "model.safetensors")
    assert files._head("model.safetensors")["ETag"].endswith('-6"')  # type: ignore[index]
    assert files.fetch("model.safetensors", tmp_path / "here").read_bytes() == LARGE
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["model.safetensors"]


def test_flipped_byte_is_found_on_the_way_back(files: S3Files, tmp_path: Path) -> None:
    """S3 gives no digest of a large object; without the stored sha256 damage would go unnoticed."""
    (tmp_path / "file").write_bytes(b"right")
    files.copy_in(tmp_path / "file", "answers.json")
    stated = {s3_module.SHA256: files.sha256("answers.json")}
    files._call("put_object", "answers.json", Body=b"wrong", Metadata=stated)
    with pytest.raises(CorruptError, match=r"answers\.json"):
        files.fetch("answers.json", tmp_path / "here")
    assert not list((tmp_path / "here").iterdir())


def test_upload_of_other_bytes_is_refused(
    files: S3Files, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file changed between hashing and sending, or the way damaged it: size and name are right."""
    monkeypatch.setattr(s3_module, "_digests", lambda *_: s3_module._Digests("0" * 64, ("", "")))
    with pytest.raises(RetryableError, match="removed"):
        files.copy_in(large, "model.safetensors")
    assert files.size("model.safetensors") is None


def test_an_etag_of_another_kind_is_no_harm(
    files: S3Files, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encrypted buckets have ETags that are no MD5: then the object is read back."""
    digests = s3_module._Digests(hashlib.sha256(LARGE).hexdigest(), ("", ""))
    monkeypatch.setattr(s3_module, "_digests", lambda *_: digests)
    files.copy_in(large, "model.safetensors")
    assert files.size("model.safetensors") == len(LARGE)


@pytest.mark.slow
def test_killed_upload_leaves_nothing_whole(
    files: S3Files, s3: S3Server, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    Store(files._uri).mark()
    with SlowLink(s3.port, up=SLOW) as link:
        command = [sys.executable, "-c", UPLOAD, files._uri, str(large)]
        upload = subprocess.Popen(command, env=os.environ | {"AWS_ENDPOINT_URL": link.url})
        wait_until(lambda: _uploads(files), "an upload")
        upload.kill()
        upload.wait()

    assert (files.names(), files.size("model.safetensors")) == ([STORE_MARK], None)
    assert find_orphans(files._uri, timedelta(hours=1)) == ()
    (orphan,) = find_orphans(files._uri, timedelta(0))
    assert (orphan.kind, orphan.place) == ("upload", f"{files._uri}/model.safetensors")
    assert orphan.bytes % PART_BYTES == 0
    remove(orphan)
    assert not _uploads(files)
    files.copy_in(large, "model.safetensors")
    assert files.size("model.safetensors") == len(LARGE)


@pytest.mark.slow
def test_server_killed_during_upload(files: S3Files, s3: S3Server, large: Path) -> None:
    """When the second part is about to be sent, and with it all tries."""
    parts = count(1)

    def kill(**_sent: object) -> None:
        if next(parts) == 2:
            s3.kill()

    filesystem(os.getpid()).s3.meta.events.register("before-call.s3.UploadPart", kill)
    with pytest.raises(RetryableError):
        files.copy_in(large, "model.safetensors")
    forget_clients()
    s3.start()
    assert next(parts) > 2
    assert files.size("model.safetensors") is None
    files.copy_in(large, "model.safetensors")
    assert files.sha256("model.safetensors")


def test_restarted_server_has_what_was_put(files: S3Files, s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"{}")
    files.copy_in(tmp_path / "file", "config.json")
    s3.kill()
    s3.start()
    assert files.read("config.json") == b"{}"


Call = Callable[[S3Files, Path], object]
every_call = pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda files, _: files.read("a"), id="read"),
        pytest.param(lambda files, _: files.names(), id="names"),
        pytest.param(lambda files, file: files.copy_in(file, "a"), id="copy_in"),
        pytest.param(lambda files, _: files.create(b"{}", "a"), id="create"),
    ],
)


@every_call
def test_missing_bucket(s3: S3Server, call: Call, large: Path) -> None:
    with pytest.raises(InputError, match=r"s3://nobody-has-this.*no such bucket"):
        call(S3Files("s3://nobody-has-this/prefix"), large)


def test_missing_bucket_of_a_store(s3: S3Server) -> None:
    """A store that cannot be listed is not taken for an empty one."""
    with pytest.raises(InputError, match=r"s3://nobody-has-this.*no such bucket"):
        Store("s3://nobody-has-this/prefix").names("verdicts")


@every_call
def test_wrong_secret(files: S3Files, call: Call, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    forget_clients()
    with pytest.raises(PermanentError, match="AWS_SECRET_ACCESS_KEY") as raised:
        call(files, large)
    assert "not-the-secret" not in str(raised.value)


def test_no_credentials(files: S3Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget_clients()
    with pytest.raises(PermanentError, match="AWS_ACCESS_KEY_ID"):
        files.read("a")


def test_dead_endpoint(files: S3Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    forget_clients()
    with pytest.raises(RetryableError, match=r"127\.0\.0\.1:9"):
        files.read("a")


def _uploads(files: S3Files) -> list[object]:
    found = s3_module.filesystem(os.getpid()).call_s3(
        "list_multipart_uploads", Bucket=BUCKET, Prefix=files._prefix
    )
    return list(found.get("Uploads", []))
