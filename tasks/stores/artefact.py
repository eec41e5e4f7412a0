"""An artefact: one folder of a store, whole when its manifest is there.

    store/
      models/<fingerprint>/        config.json … model-00001-of-00003.safetensors manifest.json
      generations/<fingerprint>/   answers.json manifest.json
      judgments/<fingerprint>/     annotations.json manifest.json
      reports/<name>/              report.html report.md report.json

A store is a folder of this machine or `s3://bucket/prefix`. A model alone can also be put
together on a branch of its repository on the Hub (`tasks.stores.hub_files`). Files arrive whole (renamed
into place, or put at once); the manifest is written last and never replaced. Where there is a
manifest, every file that it names is complete; where there is none, there is no artefact yet.
"""

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.errors import InputError, PermanentError
from tasks.core.names import is_plain_name
from tasks.core.values import fingerprint
from tasks.stores.disk import cache_folder, remove_tree, sha256_of, write_errors
from tasks.stores.files import files_at
from tasks.stores.lease import hold_lease, live_leases, release_lease
from tasks.stores.local import SCRATCH

__all__ = ["CLAIM", "MANIFEST", "STORE_MARK", "Artefact", "Store"]

MANIFEST = "manifest.json"
CLAIM = "claim.json"
STORE_MARK = "expo-store.json"


STORE_CONTENT = b'{"store": "expo-flows", "schema_version": 1}\n'
MAX_PART_NAME = 100  # in bytes it may be four times that; what is added must still fit

_marked: set[str] = set()  # on S3, where a look is a request


class Artefact:
    """A folder of files under `uri` (an absolute path, `s3://…` or `hf://org/name@branch`).

    On S3 and the Hub every method raises InputError where the bucket or the branch is missing,
    PermanentError where access is denied, and RetryableError where the store is busy or cannot
    be reached.
    """

    def __init__(self, uri: str, store: "Store | None" = None) -> None:
        self.uri = uri.rstrip("/")
        self._files = files_at(self.uri)
        self._store = store

    @property
    def local(self) -> Path | None:
        """The folder itself when it is on this machine, else None."""
        return None if "://" in self.uri else Path(self.uri)

    def scratch(self) -> Path:
        """Where files are written before `put`: beside a local artefact, so that a put is a rename.

        For an artefact on S3 it is a folder of $EXPO_CACHE, the same at every try.
        """
        folder = self._scratch_folder()
        hold_lease(folder)
        return folder

    def part(self, name: str) -> Path:
        """A place in `scratch` for a file in the making: of this process alone, and known to be its own."""
        lease = hold_lease(self._scratch_folder())
        return self._scratch_folder() / f"{name[:MAX_PART_NAME]}.{lease}.part"

    def remove_abandoned_parts(self) -> None:
        """Removes the parts of processes that are gone; they may be tens of gigabytes."""
        self._clear_scratch(keep=live_leases(self._scratch_folder()))

    def claim(self, fingerprint: str) -> None:
        """Reserves the artefact for content with this fingerprint, before anything else is written to it.

        Of two runs that would write different content into one empty folder or prefix, one gets the
        claim. The seal removes it; a run that resumes finds its own.

        Raises:
            InputError: it is claimed for something else.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        mine = {"fingerprint": fingerprint, "host": socket.gethostname(), "pid": os.getpid(), "since": now}
        if self._files.create(json.dumps(mine).encode(), CLAIM):
            return
        try:
            held = json.loads(self.read(CLAIM) or b"{}")
            holder, by = held["fingerprint"], f"process {held['pid']} on {held['host']} since {held['since']}"
        except (ValueError, KeyError, TypeError):
            holder, by = "", f"an unreadable {CLAIM}"
        if holder != fingerprint:
            raise InputError(
                f"{self.uri}: claimed for another model by {by[:200]}; give another place, or remove "
                f"what is there if that run was given up"
            )

    def unclaim(self) -> None:
        """Removes the claim, if there is one."""
        self._files.remove(CLAIM)

    def give_up(self) -> None:
        """Removes the claim of a run that failed, unless another process is at work in this folder.

        S3 does not show whether another machine is at work: a claim there stays until somebody removes it.
        """
        if self.local is None:
            return
        folder = self._scratch_folder()
        release_lease(folder)
        if not live_leases(folder):
            self.unclaim()

    def work_dir(self) -> Path:
        """The folder that a stage writes to while it works: the local artefact itself, else one in the cache.

        It is the same at every try, so a stage that keeps a journal finds it again.
        """
        folder = self.local or cache_folder() / "work" / self.uri.partition("://")[2]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def put(self, file: Path, name: str) -> None:
        """Moves a finished local file into the artefact under `name`, replacing an older one.

        Raises:
            PermanentError: the artefact is whole already, and has another content under this name.
        """
        self._mark_store()
        if self._has(file, name):
            file.unlink(missing_ok=True)
        else:
            self._files.put(file, name)

    def copy_in(self, file: Path, name: str) -> None:
        """Copies a local file that stays where it is; raises as `put`."""
        self._mark_store()
        if not self._has(file, name):
            self._files.copy_in(file, name)

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file at once."""
        part = self.part(f"{name[:MAX_PART_NAME]}.{os.urandom(4).hex()}")
        with write_errors(part):
            part.write_bytes(content)
        self.put(part, name)

    def read(self, name: str) -> bytes | None:
        """A small file's content, None if there is none."""
        return self._files.read(name)

    def size(self, name: str) -> int | None:
        """A file's size in bytes, None if there is none."""
        return self._files.size(name)

    def sha256(self, name: str) -> str | None:
        """A file's digest, 64 hex digits: computed when local, on S3 as it was uploaded; None if unknown."""
        return self._files.sha256(name)

    def names(self) -> list[str]:
        """The names of the files that are there, sorted; scratch files are not among them."""
        return [name for name in self._files.names() if name != CLAIM]

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        self._files.remove(name)

    def fetch(self, name: str, folder: Path) -> Path:
        """The file on this machine's disk: in its place when local, else a verified copy in `folder`.

        Raises:
            CorruptError: the object's content is not what was uploaded.
        """
        return self._files.fetch(name, folder)

    def manifest(self) -> bytes | None:
        """The manifest's content: None means that the artefact does not exist yet."""
        return self.read(MANIFEST)

    def seal(self, manifest: bytes) -> None:
        """Writes the manifest, the last file, once, and removes leftover partial files.

        Raises:
            PermanentError: another run sealed this artefact meanwhile, with other content.
        """
        self._mark_store()
        if not self._files.create(manifest, MANIFEST) and self.manifest() != manifest:
            raise self._finished_by_another(MANIFEST)
        self.unclaim()
        self._leave_scratch()

    def replace(self, name: str, content: bytes) -> None:
        """Writes a small file that the manifest does not name into a whole artefact."""
        self.remove(name)
        self._files.create(content, name)
        self._leave_scratch()

    def _leave_scratch(self) -> None:
        folder = self._scratch_folder()
        release_lease(folder)
        self._clear_scratch(keep=live_leases(folder))
        with suppress(OSError):  # not there, or another run of the same model is at work in it
            folder.rmdir()

    def _clear_scratch(self, keep: frozenset[str]) -> None:
        """Removes what no process with one of these leases writes."""
        folder = self._scratch_folder()
        for path in folder.iterdir() if folder.is_dir() else ():
            if not any(lease in path.name for lease in keep):
                remove_tree(path, folder)

    def _mark_store(self) -> None:
        if self._store is not None:
            self._store.mark()

    def _has(self, file: Path, name: str) -> bool:
        """Whether the artefact is whole and has this very file: then another run was faster."""
        if self.size(MANIFEST) is None or (held := self._files.sha256(name)) is None:
            return False
        if not file.exists() or held == sha256_of(file):  # its seal took the scratch folder along
            return True
        raise self._finished_by_another(name)

    def _finished_by_another(self, name: str) -> PermanentError:
        return PermanentError(
            f"{self.uri}: another run has finished this artefact meanwhile, and its {name} differs; "
            "run the same command again, it will use that one"
        )

    def _scratch_folder(self) -> Path:
        if self.local:
            return self.local / SCRATCH
        return cache_folder() / "parts" / fingerprint({"uri": self.uri})[:16]


class Store:
    """The layout of artefacts under one uri.

    Raises:
        InputError: the uri is of another kind than a folder or s3://bucket/prefix.
    """

    def __init__(self, uri: str) -> None:
        if "://" in uri and not uri.startswith("s3://"):
            raise InputError(f"store {uri!r}: use a folder or s3://bucket/prefix")
        self.uri = uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().resolve())

    def artefact(self, kind: str, name: str) -> Artefact:
        """The artefact of a kind ("models", "generations", …) by fingerprint or name.

        Raises:
            InputError: the name is a path, hidden, or no name that a folder can have.
        """
        if not is_plain_name(name):
            raise InputError(f"{self.uri}: {name[:80]!r} is no name of an artefact in {kind}")
        return Artefact(f"{self.uri}/{kind}/{name}", self)

    def mark(self) -> None:
        """Marks the place as a store, at the first use: only in such a place `expo gc` removes anything."""
        if not self.is_marked():
            files_at(self.uri).create(STORE_CONTENT, STORE_MARK)
            if "://" in self.uri:
                _marked.add(self.uri)
            else:
                scratch = Path(self.uri) / SCRATCH
                release_lease(scratch)
                with suppress(OSError):  # another process marks it too
                    scratch.rmdir()

    def is_marked(self) -> bool:
        """Whether the place is known to be a store."""
        return self.uri in _marked or files_at(self.uri).size(STORE_MARK) is not None

    def names(self, kind: str) -> list[str]:
        """The names of the artefacts of a kind that are whole, sorted; on S3 by one listing of them all."""
        place = f"{self.uri}/{kind}"
        if place.startswith("s3://"):
            from tasks.stores.s3_admin import all_objects

            parts = [key.split("/") for key in all_objects(place)]
            return sorted(name for name, *rest in parts if rest == [MANIFEST])
        found = files_at(place).folders()
        return [name for name in found if self.artefact(kind, name).size(MANIFEST) is not None]
