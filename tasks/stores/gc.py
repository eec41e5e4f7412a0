"""Files that no manifest references: found, and removed on request.

unfinished  an artefact without a manifest whose newest file is old: a run that nobody resumed
stray       a file in a whole model that its manifest does not name
upload      parts of a multipart upload that was never ended: invisible, and paid for
cache       parts, copies and partial downloads on this machine

Removes only in a place that is marked as a store, and there only names of the forms that this
program writes. Files younger than a limit (by the store's clock) or leased by a live process may
still be in use and are kept. So is an unfinished judging of any age: its journal holds answers
that were paid for.
"""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from huggingface_hub import constants
from pydantic import BaseModel, ValidationError

from tasks.core.errors import InputError, PermanentError
from tasks.core.values import Value
from tasks.stores.artefact import CLAIM, MANIFEST, STORE_MARK, Artefact, Store
from tasks.stores.disk import cache_folder, remove_tree
from tasks.stores.lease import is_leased
from tasks.stores.local import SCRATCH

__all__ = ["Orphan", "find_orphans", "remove"]

Kind = Literal["unfinished", "stray", "upload", "cache"]
Files = Mapping[str, tuple[int, datetime]]

FINGERPRINT = re.compile(r"[0-9a-f]{16}")
# What a run can make again, and what its artefact is called; a report has its run's name.
REMADE = {
    "models": FINGERPRINT,
    "generations": FINGERPRINT,
    "verdicts": FINGERPRINT,
    "anchors": FINGERPRINT,
    "reports": re.compile(r"[\w .-]+"),
}
REPORT_FILES = re.compile(r"report\.(json|md|html)|figures\.json|" + re.escape(SCRATCH) + "/.*")
STRAY = re.compile(r".*\.safetensors(\.receipt\.json)?|" + f"{re.escape(CLAIM)}|{re.escape(SCRATCH)}/.*")
CACHED = ("parts/*", "publish/*", "hub/*", "s3/*/.*.part")


class Orphan(Value):
    """A file, folder or multipart upload that may be removed.

    place    a path, or s3://…: a file, or a folder with all that is in it
    root     the store, or the cache, that it lies in
    bytes    its size
    changed  when it was last written to
    upload   for a multipart upload, the store's id of it
    """

    kind: Kind
    place: str
    root: str
    bytes: int
    changed: datetime
    upload: str | None = None


class _File(BaseModel):
    name: str


class _Manifest(BaseModel):
    """The one field that the manifests of all artefacts share: the files that they reference."""

    files: tuple[_File, ...]


def find_orphans(uri: str, older_than: timedelta) -> tuple[Orphan, ...]:
    """All orphans of a store and of this machine's caches, the oldest first.

    Raises:
        InputError: the place is not marked as a store; and as `Artefact`.
        PermanentError, RetryableError: as `Artefact`.
    """
    store = Store(uri)
    if not store.is_marked():
        raise InputError(
            f"{store.uri}: no {STORE_MARK} in it, so it is no store, or none that a run has written to since "
            "stores are marked; look at the uri, or let a run write there first: nothing was removed"
        )
    files, now = _files(store.uri), _now(store.uri)
    found = [
        *((orphan, now) for orphan in (*_of_artefacts(store, files), *_uploads(store))),
        *((orphan, datetime.now(UTC)) for orphan in _cached()),
    ]
    old = (orphan for orphan, clock in found if orphan.changed < clock - older_than)
    return tuple(sorted(old, key=lambda orphan: orphan.changed))


def remove(orphan: Orphan) -> None:
    """Removes it, unless a run has finished the artefact meanwhile, or works on it."""
    if orphan.kind == "unfinished" and Artefact(orphan.place).manifest() is not None:
        return
    if not orphan.place.startswith("s3://"):
        path = Path(orphan.place)
        if not is_leased(path):
            _remove_local(path, Path(orphan.root))
        return
    from tasks.stores import s3_admin

    if orphan.upload is not None:
        bucket, _, key = orphan.place.removeprefix("s3://").partition("/")
        s3_admin.abandon(s3_admin.Upload(bucket, key, orphan.upload, orphan.changed, orphan.bytes))
    elif orphan.kind == "unfinished":
        s3_admin.remove_prefix(orphan.place)
    else:
        s3_admin.remove_object(orphan.place)


def _remove_local(path: Path, root: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path, root)
    elif root.resolve() in path.parent.resolve().parents or root.resolve() == path.parent.resolve():
        path.unlink(missing_ok=True)
    else:
        raise PermanentError(f"{path}: not below {root}; it was not removed")


def _now(uri: str) -> datetime:
    if not uri.startswith("s3://"):
        return datetime.now(UTC)
    from tasks.stores.s3_admin import server_time

    return server_time(uri)


def _files(uri: str) -> Files:
    """Size in bytes and last change of every file under the store, by its path below it."""
    if not uri.startswith("s3://"):
        return _local_files(Path(uri))
    from tasks.stores.s3_admin import all_objects

    return all_objects(uri)


def _local_files(folder: Path) -> Files:
    found: dict[str, tuple[int, datetime]] = {}
    for place, _, names in os.walk(folder):
        below = Path(place).relative_to(folder).as_posix()
        for name in names:
            with suppress(FileNotFoundError):  # finished or removed meanwhile
                status = os.lstat(f"{place}/{name}")
                if stat.S_ISREG(status.st_mode):
                    found[name if below == "." else f"{below}/{name}"] = _size_and_change(status)
    return found


def _size_and_change(status: os.stat_result) -> tuple[int, datetime]:
    return status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)


def _of_artefacts(store: Store, files: Files) -> Iterator[Orphan]:
    artefacts: dict[tuple[str, str], dict[str, tuple[int, datetime]]] = defaultdict(dict)
    for path, found in files.items():
        kind, _, rest = path.partition("/")
        name, _, file = rest.partition("/")
        if kind in REMADE and file and REMADE[kind].fullmatch(name):
            artefacts[kind, name][file] = found
    for (kind, name), held in artefacts.items():
        artefact = store.artefact(kind, name)
        orphans: list[Orphan] = []
        if MANIFEST in held:
            orphans += _strays(artefact, held, store.uri) if kind == "models" else ()
        elif kind != "reports" or all(REPORT_FILES.fullmatch(file) for file in held):
            size = sum(size for size, _ in held.values())
            changed = max(changed for _, changed in held.values())
            orphans.append(
                Orphan(kind="unfinished", place=artefact.uri, root=store.uri, bytes=size, changed=changed)
            )
        if orphans and not (artefact.local and is_leased(artefact.local)):
            yield from orphans


def _strays(model: Artefact, held: Files, root: str) -> Iterator[Orphan]:
    """What a whole model's manifest does not name; a manifest that cannot be read names nothing to remove."""
    try:
        files = _Manifest.model_validate_json(model.manifest() or b"").files
    except ValidationError:
        return
    for name in sorted(set(held) - {file.name for file in files}):
        if STRAY.fullmatch(name):
            size, changed = held[name]
            yield Orphan(kind="stray", place=f"{model.uri}/{name}", root=root, bytes=size, changed=changed)


def _uploads(store: Store) -> Iterator[Orphan]:
    if not store.uri.startswith("s3://"):
        return
    from tasks.stores.s3_admin import uploads

    for upload in uploads(store.uri):
        yield Orphan(
            kind="upload",
            place=upload.uri,
            root=store.uri,
            bytes=upload.bytes,
            changed=upload.begun,
            upload=upload.id,
        )


def _cached() -> Iterator[Orphan]:
    """Of this machine: what was on its way into a store, onto the Hub, or from either."""
    cache, hub = cache_folder(), Path(constants.HF_HUB_CACHE)
    made = [(cache, path) for pattern in CACHED for path in cache.glob(pattern)]
    for root, path in (*made, *((hub, path) for path in hub.glob("models--*/blobs/*.incomplete"))):
        if path.is_symlink() or is_leased(path):
            continue
        held = _local_files(path).values() if path.is_dir() else [_size_and_change(path.stat())]
        size = sum(size for size, _ in held)
        changed = max((changed for _, changed in held), default=_size_and_change(path.stat())[1])
        yield Orphan(kind="cache", place=str(path), root=str(root), bytes=size, changed=changed)
