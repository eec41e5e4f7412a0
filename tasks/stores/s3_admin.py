"""All that lies under an S3 prefix, multipart uploads that nobody will end among it."""

import os
from datetime import datetime
from typing import Any, NamedTuple

from tasks.stores.s3 import filesystem
from tasks.stores.s3_errors import s3_errors

__all__ = ["Upload", "abandon", "all_objects", "remove_objects", "uploads"]


class Upload(NamedTuple):
    """A multipart upload that was begun and neither ended nor abandoned; `bytes` are stored, and paid for."""

    bucket: str
    key: str
    id: str
    begun: datetime
    bytes: int

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def all_objects(uri: str) -> dict[str, tuple[int, datetime]]:
    """Size in bytes and time of the last change of every object under the prefix, by its path below it."""
    with s3_errors(uri):
        root = uri.removeprefix("s3://").rstrip("/")
        found = filesystem(os.getpid()).find(root, detail=True)
    return {
        path.removeprefix(root).lstrip("/"): (entry["size"], entry["LastModified"])
        for path, entry in found.items()
    }


def remove_objects(uri: str) -> None:
    """Removes an object, or all under a prefix."""
    with s3_errors(uri):
        filesystem(os.getpid()).rm(uri.removeprefix("s3://"), recursive=True)


def uploads(uri: str) -> list[Upload]:
    """The multipart uploads under the prefix, the live ones among them."""
    bucket, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
    found: list[Upload] = []
    marker: dict[str, str] = {}
    with s3_errors(uri):
        while True:
            page = _call("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marker)
            found += [_upload(bucket, one) for one in page.get("Uploads", [])]
            if not page.get("IsTruncated"):
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def abandon(upload: Upload) -> None:
    """Ends the upload; its parts go."""
    with s3_errors(upload.uri):
        _call("abort_multipart_upload", Bucket=upload.bucket, Key=upload.key, UploadId=upload.id)


def _upload(bucket: str, one: dict[str, Any]) -> Upload:
    parts = _call("list_parts", Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"]).get("Parts", [])
    size = sum(part["Size"] for part in parts)
    return Upload(bucket, one["Key"], one["UploadId"], one["Initiated"], size)


def _call(method: str, **arguments: str) -> dict[str, Any]:
    return dict(filesystem(os.getpid()).call_s3(method, **arguments))
