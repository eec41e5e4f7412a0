"""An artefact: one folder of a store, whole when its manifest is there.

    store/
      models/<fingerprint>/        config.json … model-00001-of-00003.safetensors manifest.json
      generations/<fingerprint>/   answers.json manifest.json
      judgments/<fingerprint>/     annotations.json manifest.json
      reports/<name>/              report.html report.md report.json

A store is a folder of this machine or `s3://bucket/prefix`. Files arrive whole (renamed
into place, or put at once); the manifest is written last and never replaced. Who finds a
manifest may use every file beside it; who finds none has found nothing.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import fsspec

from tasks.errors import InputError

__all__ = ["MANIFEST", "Artefact", "Store"]

MANIFEST = "manifest.json"
SCRATCH = ".partial"


class Artefact:
    """A folder of files under `uri` (an absolute path or `s3://…`)."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._fs, self._root = fsspec.url_to_fs(self.uri, **_options(self.uri))

    @property
    def local(self) -> Path | None:
        """The folder itself when it is on this machine, else None."""
        return None if "://" in self.uri else Path(self._root)

    def scratch(self) -> Path:
        """Where files are written before `put`: beside a local artefact, so that a put is a rename."""
        folder = self.local / SCRATCH if self.local else Path(tempfile.mkdtemp(prefix="expo-"))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def put(self, file: Path, name: str) -> None:
        """Moves a finished local file into the artefact under `name`, replacing an older one."""
        if self.local:
            self.local.mkdir(parents=True, exist_ok=True)
            os.replace(file, self.local / name)
            return
        self._fs.put_file(str(file), f"{self._root}/{name}")
        file.unlink()

    def copy_in(self, file: Path, name: str) -> None:
        """Copies a local file that stays where it is."""
        copy = self.scratch() / name
        shutil.copyfile(file, copy)
        self.put(copy, name)

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file at once."""
        part = self.scratch() / f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
        part.write_bytes(content)
        self.put(part, name)

    def read(self, name: str) -> bytes | None:
        """A small file's content, None if there is none."""
        try:
            content: bytes = self._fs.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def size(self, name: str) -> int | None:
        """A file's size in bytes, None if there is none."""
        try:
            return int(self._fs.info(f"{self._root}/{name}")["size"])
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """The names of the files that are there, sorted; scratch files are not among them."""
        try:
            entries = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        return sorted(entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")

    def fetch(self, name: str, folder: Path) -> Path:
        """The file on this machine's disk: in its place when local, else a copy in `folder`."""
        if self.local:
            return self.local / name
        folder.mkdir(parents=True, exist_ok=True)
        self._fs.get_file(f"{self._root}/{name}", str(folder / name))
        return folder / name

    def manifest(self) -> bytes | None:
        """The manifest's content: None means that the artefact does not exist yet."""
        return self.read(MANIFEST)

    def seal(self, manifest: bytes) -> None:
        """Writes the manifest, the last file; what was left of partial files goes."""
        if self.local:
            shutil.rmtree(self.local / SCRATCH, ignore_errors=True)
        self.write(MANIFEST, manifest)
        if self.local:
            shutil.rmtree(self.local / SCRATCH, ignore_errors=True)


class Store:
    """The layout of artefacts under one uri."""

    def __init__(self, uri: str) -> None:
        if "://" in uri and not uri.startswith(("s3://", "memory://")):
            raise InputError(f"store {uri!r}: use a folder or s3://bucket/prefix")
        self.uri = uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().resolve())

    def artefact(self, kind: str, name: str) -> Artefact:
        """The artefact of a kind ("models", "generations", …) by fingerprint or name."""
        return Artefact(f"{self.uri}/{kind}/{name}")


def _options(uri: str) -> dict[str, bool]:
    return {"use_listings_cache": False} if uri.startswith("s3://") else {}
