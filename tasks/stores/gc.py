"""Files that no manifest references: found, and removed on request.

unfinished  an artefact without a manifest whose newest file is old: a run that nobody resumed
stray       a file in a whole model that its manifest does not name, or outside of any artefact
upload      parts of a multipart upload that was never ended: invisible, and paid for
cache       parts, copies and partial downloads on this machine

Whatever is younger than a limit may be in the making, and is left alone. So is an unfinished
judging, whatever its age: its journal holds answers that were paid for.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from huggingface_hub import constants
from pydantic import BaseModel, ValidationError

from tasks.core.values import Value
from tasks.stores.artefact import MANIFEST, Artefact, Store
from tasks.stores.disk import cache_folder

__all__ = ["Orphan", "find_orphans", "remove"]

Kind = Literal["unfinished", "stray", "upload", "cache"]
Files = Mapping[str, tuple[int, datetime]]

REMADE = ("models", "generations", "verdicts", "reports", "anchors")
PAID = ("judgments",)
CACHED = ("parts/*", "publish/*", "hub/*", "s3/*/.*.part")


class Orphan(Value):
    """Something that may go.

    place    a path, or s3://…: a file, or a folder with all that is in it
    bytes    its size
    changed  when it was last written to
    upload   for a multipart upload, the store's id of it
    """

    kind: Kind
    place: str
    bytes: int
    changed: datetime
    upload: str | None = None


class _File(BaseModel):
    name: str


class _Manifest(BaseModel):
    """Of a manifest only what every artefact's has in common: the files that it references."""

    files: tuple[_File, ...]


def find_orphans(uri: str, older_than: timedelta) -> tuple[Orphan, ...]:
    """All orphans of a store and of this machine's caches, the oldest first.

    Raises:
        InputError, PermanentError, RetryableError: as `Artefact`.
    """
    store, limit = Store(uri), datetime.now(UTC) - older_than
    files = _files(store.uri)
    found = [*_of_artefacts(store, files), *_outside(store, files), *_uploads(store), *_cached()]
    return tuple(
        sorted((orphan for orphan in found if orphan.changed < limit), key=lambda orphan: orphan.changed)
    )


def remove(orphan: Orphan) -> None:
    """Removes it, unless a run has finished the artefact meanwhile."""
    if orphan.kind == "unfinished" and Artefact(orphan.place).manifest() is not None:
        return
    if not orphan.place.startswith("s3://"):
        path = Path(orphan.place)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        return
    from tasks.stores import s3_admin

    if orphan.upload is None:
        s3_admin.remove_objects(orphan.place)
        return
    bucket, _, key = orphan.place.removeprefix("s3://").partition("/")
    s3_admin.abandon(s3_admin.Upload(bucket, key, orphan.upload, orphan.changed, orphan.bytes))


def _files(uri: str) -> Files:
    """Size in bytes and last change of every file under the store, by its path below it."""
    if not uri.startswith("s3://"):
        return _local_files(Path(uri))
    from tasks.stores.s3_admin import all_objects

    return all_objects(uri)


def _local_files(folder: Path) -> Files:
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path.relative_to(folder).as_posix(): _size_and_change(path) for path in paths}


def _size_and_change(path: Path) -> tuple[int, datetime]:
    status = path.stat()
    return status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)


def _of_artefacts(store: Store, files: Files) -> Iterator[Orphan]:
    artefacts: dict[tuple[str, str], dict[str, tuple[int, datetime]]] = defaultdict(dict)
    for path, found in files.items():
        kind, _, rest = path.partition("/")
        name, _, file = rest.partition("/")
        if kind in REMADE and file:
            artefacts[kind, name][file] = found
    for (kind, name), held in artefacts.items():
        artefact = store.artefact(kind, name)
        if MANIFEST not in held:
            size = sum(size for size, _ in held.values())
            changed = max(changed for _, changed in held.values())
            yield Orphan(kind="unfinished", place=artefact.uri, bytes=size, changed=changed)
        elif kind == "models":
            yield from _strays(artefact, held)


def _strays(model: Artefact, held: Files) -> Iterator[Orphan]:
    """What a whole model's manifest does not name; a manifest that cannot be read names nothing to remove."""
    try:
        files = _Manifest.model_validate_json(model.manifest() or b"").files
    except ValidationError:
        return
    for name in sorted(set(held) - {file.name for file in files} - {MANIFEST}):
        size, changed = held[name]
        yield Orphan(kind="stray", place=f"{model.uri}/{name}", bytes=size, changed=changed)


def _outside(store: Store, files: Files) -> Iterator[Orphan]:
    """Files beside the artefacts, in a folder that is ours; other folders are somebody else's."""
    for path, (size, changed) in files.items():
        kind, _, rest = path.partition("/")
        if kind in (*REMADE, *PAID) and rest and "/" not in rest:
            yield Orphan(kind="stray", place=f"{store.uri}/{path}", bytes=size, changed=changed)


def _uploads(store: Store) -> Iterator[Orphan]:
    if not store.uri.startswith("s3://"):
        return
    from tasks.stores.s3_admin import uploads

    for upload in uploads(store.uri):
        yield Orphan(
            kind="upload", place=upload.uri, bytes=upload.bytes, changed=upload.begun, upload=upload.id
        )


def _cached() -> Iterator[Orphan]:
    """Of this machine: what was on its way into a store, onto the Hub, or from either."""
    ours = (path for pattern in CACHED for path in cache_folder().glob(pattern))
    partial = Path(constants.HF_HUB_CACHE).glob("models--*/blobs/*.incomplete")
    for path in (*ours, *partial):
        held = _local_files(path).values() if path.is_dir() else [_size_and_change(path)]
        size = sum(size for size, _ in held)
        changed = max((changed for _, changed in held), default=_size_and_change(path)[1])
        yield Orphan(kind="cache", place=str(path), bytes=size, changed=changed)
