"""The endpoints of the Hub emulator that the client calls, and the faults that they meet."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.servers.hub_repos import LFS_SUFFIXES, Blob, Commit, Fault, HubState, Repo, blob_of

__all__ = ["WRITE_TOKEN", "application"]

WRITE_TOKEN = "hf_of_the_tests"
CHUNK = 64 * 1024

Handler = Callable[[Request], Awaitable[Response]]


def application(hub: HubState) -> Starlette:
    routes = _Routes(hub)
    paths: dict[str, tuple[Handler, str]] = {
        "/api/repos/create": (routes.create, "POST"),
        "/api/validate-yaml": (routes.validate_yaml, "POST"),
        "/api/models/{repo:path}/tree/{revision}": (routes.tree, "GET"),
        "/api/models/{repo:path}/revision/{revision}": (routes.info, "GET"),
        "/api/models/{repo:path}/paths-info/{revision}": (routes.paths_info, "POST"),
        "/api/models/{repo:path}/branch/{branch}": (routes.branch, "POST DELETE"),
        "/api/models/{repo:path}/preupload/{revision}": (routes.preupload, "POST"),
        "/api/models/{repo:path}/commit/{revision}": (routes.commit, "POST"),
        "/api/models/{repo:path}": (routes.info, "GET"),
        "/{repo:path}.git/info/lfs/objects/batch": (routes.lfs_batch, "POST"),
        "/upload/{oid}": (routes.upload, "PUT"),
        "/cdn/{sha256}": (routes.cdn, "GET"),
        "/{repo:path}/resolve/{revision}/{path:path}": (routes.resolve, "GET"),
    }
    return Starlette(
        routes=[
            Route(path, routes.guarded(handler), methods=how.split())
            for path, (handler, how) in paths.items()
        ]
    )


class _Refusal(Exception):
    """An error answer in the Hub's form: status and X-Error-Code."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.response = JSONResponse(
            {"error": message or code}, status, {"X-Error-Code": code, "X-Error-Message": message or code}
        )


class _Routes:
    """One method an endpoint."""

    def __init__(self, hub: HubState) -> None:
        self._hub = hub

    def guarded(self, handler: Handler) -> Handler:
        """The handler behind the log, the planned refusals and the errors in the Hub's form."""

        async def guard(request: Request) -> Response:
            self._hub.note(f"{_line(request)} {request.headers.get('Range', '')}".strip())
            fault = self._hub.fault_for(_line(request), ("status", "lost", "stall"))
            while fault and fault.kind == "stall" and not await request.is_disconnected():
                await asyncio.sleep(0.02)
            if fault and fault.kind != "lost":
                return _planned(fault)
            try:
                answer = await handler(request)
            except _Refusal as refusal:
                return refusal.response
            return _planned(fault) if fault else answer

        return guard

    def _repo(self, request: Request, *, content: bool = False) -> Repo:
        """The repository asked for; a gated one shows its listing to all, its content to the granted."""
        repo = self._hub.repos.get(request.path_params["repo"])
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if repo is None or (repo.private and token not in repo.granted):
            raise _Refusal(404 if token else 401, "RepoNotFound")
        if content and repo.gated and token not in repo.granted:
            raise _Refusal(403 if token else 401, "GatedRepo")
        return repo

    def _commit(self, request: Request, *, content: bool = False) -> Commit:
        commit = self._repo(request, content=content).at(request.path_params.get("revision", "main"))
        if commit is None:
            raise _Refusal(404, "RevisionNotFound")
        return commit

    async def info(self, request: Request) -> Response:
        repo, commit = self._repo(request), self._commit(request)
        siblings = [blob.sibling(path) for path, blob in commit.files.items()]
        name = request.path_params["repo"]
        about = {"id": name, "modelId": name, "sha": commit.sha, "private": repo.private, "tags": []}
        return JSONResponse(about | {"gated": "auto" if repo.gated else False, "siblings": siblings})

    async def tree(self, request: Request) -> Response:
        return JSONResponse([blob.listing(path) for path, blob in self._commit(request).files.items()])

    async def paths_info(self, request: Request) -> Response:
        asked = parse_qs((await request.body()).decode())["paths"]
        held = self._commit(request).files
        return JSONResponse([held[path].listing(path) for path in asked if path in held])

    async def branch(self, request: Request) -> Response:
        """Makes a branch at the head of main, or removes one."""
        self._writable(request)
        refs, name = self._repo(request).refs, request.path_params["branch"]
        if request.method == "DELETE":
            if refs.pop(name, None) is None:
                raise _Refusal(404, "RevisionNotFound")
        elif name in refs:
            raise _Refusal(409, message="Reference already exists")
        else:
            refs[name] = refs["main"]
        return Response(status_code=200)

    async def resolve(self, request: Request) -> Response:
        commit = self._commit(request, content=True)
        blob = commit.files.get(request.path_params["path"])
        if blob is None:
            raise _Refusal(404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{blob.etag}"'}
        if not blob.lfs:
            return self._content(request, blob.content, headers)
        # To another host name: on its own host the client would follow, and look for metadata there.
        headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
        headers["Location"] = f"http://localhost:{request.url.port}/cdn/{blob.sha256}"
        return Response(status_code=302, headers=headers)

    async def cdn(self, request: Request) -> Response:
        wanted = request.path_params["sha256"]
        blobs = (b for r in self._hub.repos.values() for c in r.commits for b in c.files.values())
        blob = next((blob for blob in blobs if blob.lfs and blob.sha256 == wanted), None)
        if blob is None:
            raise _Refusal(404, "EntryNotFound")
        return self._content(request, blob.content, {})

    def _content(self, request: Request, content: bytes, headers: dict[str, str]) -> Response:
        """The whole body or the range asked for, as the next planned fault lets it through."""
        status, fault = 200, None
        if request.method == "GET":
            fault = self._hub.fault_for(_line(request), ("drop", "corrupt", "truncate", "whole"))
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if found and not (fault and fault.kind == "whole"):
            start, stop = int(found[1]), min(int(found[2] or len(content)) + 1, len(content))
            headers = headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
            content, status = content[start:stop], 206
        sent = _damaged(content, fault)
        said = len(sent) if fault and fault.kind == "truncate" else len(content)
        body = _chunks(sent, self._hub.bytes_per_second)
        return StreamingResponse(body, status, headers | {"Content-Length": str(said)})

    async def create(self, request: Request) -> Response:
        asked = await request.json()
        name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        self._writable(request)
        url = {"url": f"{_here(request)}/{name}"}
        if name in self._hub.repos:
            return JSONResponse(url, 409, {"X-Error-Message": "You already created this model repo"})
        repo = Repo(private=asked.get("visibility") == "private", granted={WRITE_TOKEN})
        repo.commit({".gitattributes": blob_of(".gitattributes", b"")}, "initial commit")
        self._hub.repos[name] = repo
        return JSONResponse(url)

    async def validate_yaml(self, request: Request) -> Response:
        """Checks only that the license is a string."""
        card = (await request.json())["content"]
        license_id = yaml.safe_load(card.split("---")[1]).get("license", "")
        errors = [] if isinstance(license_id, str) else [{"message": '"license" must be a string'}]
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    async def preupload(self, request: Request) -> Response:
        self._writable(request)
        held = self._commit(request).files
        files = []
        for file in (await request.json())["files"]:
            path = file["path"]
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            oid = held[path].etag if path in held else None
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return JSONResponse({"files": files})

    async def lfs_batch(self, request: Request) -> Response:
        self._writable(request)
        objects = []
        for asked in (await request.json())["objects"]:
            upload = {"upload": {"href": f"{_here(request)}/upload/{asked['oid']}"}}
            known = asked["oid"] in self._hub.uploads
            objects.append(asked if known else asked | {"actions": upload})
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def upload(self, request: Request) -> Response:
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != request.path_params["oid"]:
            return Response("digest differs", 400)
        self._hub.uploads[request.path_params["oid"]] = content
        return Response(status_code=200)

    async def commit(self, request: Request) -> Response:
        self._writable(request)
        repo, branch = self._repo(request), request.path_params["revision"]
        head = self._commit(request)
        header, *operations = [json.loads(line) for line in (await request.body()).splitlines()]
        parent = header["value"].get("parentCommit")
        if parent and parent != head.sha:
            raise _Refusal(412, message="A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for operation in operations:
            self._apply(operation["key"], operation["value"], files)
        sha = repo.commit(files, header["value"]["summary"], branch)
        url = f"{_here(request)}/{request.path_params['repo']}/commit/{sha}"
        return JSONResponse({"commitUrl": url, "commitOid": sha})

    def _apply(self, key: str, value: dict[str, str], files: dict[str, Blob]) -> None:
        path = value["path"]
        if key == "file":
            files[path] = Blob(base64.b64decode(value["content"]), lfs=False)
        elif key == "lfsFile":
            if value["oid"] not in self._hub.uploads:
                raise _Refusal(400, message=f"LFS object {value['oid']} was never uploaded")
            files[path] = Blob(self._hub.uploads[value["oid"]], lfs=True)
        elif key == "deletedFile":
            files.pop(path, None)

    def _writable(self, request: Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {WRITE_TOKEN}":
            raise _Refusal(401, message="Invalid username or password.")


def _planned(fault: Fault) -> Response:
    wait = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return Response("planned", fault.status, wait)


def _here(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _line(request: Request) -> str:
    return f"{request.method} {request.url.path}"


def _damaged(content: bytes, fault: Fault | None) -> bytes:
    if fault is None or fault.kind == "whole":
        return content
    if fault.kind == "corrupt":
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return content[: len(content) // 2]


async def _chunks(content: bytes, bytes_per_second: float | None) -> AsyncIterator[bytes]:
    """A body shorter than its Content-Length makes the server break the connection: that is "drop"."""
    for start in range(0, len(content), CHUNK):
        chunk = content[start : start + CHUNK]
        if bytes_per_second:
            await asyncio.sleep(len(chunk) / bytes_per_second)
        yield chunk
