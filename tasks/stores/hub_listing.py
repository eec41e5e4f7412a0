"""The files of a Hub repository at one commit: listed by the Hub, or from the cache when offline."""

from collections.abc import Mapping

from huggingface_hub import HfApi, get_cached_repo_tree, is_offline_mode, snapshot_download
from huggingface_hub.errors import CachedRepoTreeNotFoundError

from tasks.core.errors import PermanentError
from tasks.core.values import Value
from tasks.stores.hub_cache import HubFile, cached_path

__all__ = ["TIMEOUT_S", "Listing", "list_repository"]

TIMEOUT_S = 30.0


class Listing(Value):
    """The commit (40 hex digits), the files at its top by name, and the folders there."""

    commit: str
    files: Mapping[str, HubFile]
    folders: tuple[str, ...] = ()


def list_repository(uri: str, revision: str | None) -> Listing:
    """Resolves the revision (None: the head of main) and lists its commit."""
    return _from_cache(uri, revision) if is_offline_mode() else _from_hub(uri, revision)


def _from_hub(uri: str, revision: str | None) -> Listing:
    api = HfApi()
    commit = api.resolve_revision(uri, revision=revision).resolved
    info = api.model_info(uri, revision=commit, files_metadata=True, timeout=TIMEOUT_S)
    siblings = [file for file in info.siblings or [] if "/" not in file.rfilename]
    names = sorted((file.rfilename for file in siblings), key=lambda name: name != "config.json")
    # This keeps the listing in the cache, for use offline, and shows at once whether access is granted.
    snapshot_download(uri, revision=commit, allow_patterns=names[:1], etag_timeout=TIMEOUT_S)
    xet = _in_xet(uri, commit)
    files = {
        file.rfilename: HubFile(
            size=file.size or 0,
            sha256=file.lfs.sha256 if file.lfs else None,
            blob_id=file.blob_id,
            xet=file.rfilename in xet,
        )
        for file in siblings
    }
    paths = (file.rfilename for file in info.siblings or [])
    folders = {path.partition("/")[0] for path in paths if "/" in path}
    return Listing(commit=commit, files=files, folders=tuple(sorted(folders)))


def _in_xet(uri: str, commit: str) -> set[str]:
    try:
        return {file.path for file in get_cached_repo_tree(uri, revision=commit) if file.xet_hash}
    except CachedRepoTreeNotFoundError:  # a cache that cannot be written to
        return set()


def _from_cache(uri: str, revision: str | None) -> Listing:
    """The listing that an earlier opening left in the cache; failing that, the files that are there."""
    commit = HfApi().resolve_revision(uri, revision=revision, local_files_only=True).resolved
    try:
        tree = {file.path: file.size for file in get_cached_repo_tree(uri, revision=commit)}
    except CachedRepoTreeNotFoundError:
        config = cached_path(uri, commit, "config.json")
        if config is None:
            raise PermanentError(
                f"{uri}@{commit[:12]}: offline, and not in the cache; run once without HF_HUB_OFFLINE=1"
            ) from None
        tree = {path.name: path.stat().st_size for path in config.parent.iterdir() if path.is_file()}
    names = (name for name in tree if "/" not in name)
    return Listing(commit=commit, files={name: _cached_file(uri, commit, name, tree[name]) for name in names})


def _cached_file(uri: str, commit: str, name: str, size: int) -> HubFile:
    """In the cache a file is a link to a blob that is named by its digest."""
    path = cached_path(uri, commit, name)
    blob = path.readlink().name if path and path.is_symlink() else ""
    if len(blob) == 64:
        return HubFile(size=size, sha256=blob)
    return HubFile(size=size, blob_id=blob or None)
