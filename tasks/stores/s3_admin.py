"""Lists and removes everything under an S3 prefix, unfinished multipart uploads included.

Keys are taken as they are: no pattern in one is expanded, and a prefix ends in a slash, so that
nothing of `store2/` is found under `store`.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from tasks.stores.s3 import filesystem
from tasks.stores.s3_errors import s3_errors

__all__ = ["Upload", "abandon", "all_objects", "remove_object", "remove_prefix", "server_time", "uploads"]


class Upload(NamedTuple):
    """A multipart upload that was begun and neither ended nor abandoned; `bytes` are stored, and paid for."""

    bucket: str
    key: str
    id: str
    begun: datetime
    bytes: int

    @property
    def uri(self) -> str:
        """The object's `s3://` uri."""
        return f"s3://{self.bucket}/{self.key}"


def server_time(uri: str) -> datetime:
    """The time by the server's clock, which also stamps the objects."""
    with s3_errors(uri):
        answer = _call("list_objects_v2", Bucket=_bucket_and_prefix(uri)[0], MaxKeys=1)
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if date is None:
        return datetime.now(UTC)
    # The header has whole seconds, cut off; the objects' times are finer.
    return parsedate_to_datetime(date).astimezone(UTC) + timedelta(seconds=1)


def all_objects(uri: str) -> dict[str, tuple[int, datetime]]:
    """Size in bytes and time of the last change of every object under the prefix, by its key below it."""
    bucket, prefix = _bucket_and_prefix(uri)
    with s3_errors(uri):
        return {
            entry["Key"].removeprefix(prefix): (entry["Size"], entry["LastModified"])
            for entry in _objects(bucket, prefix)
        }


def remove_object(uri: str) -> None:
    """Removes the object with exactly this key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with s3_errors(uri):
        _call("delete_object", Bucket=bucket, Key=key)


def remove_prefix(uri: str) -> None:
    """Removes every object whose key begins with the uri's and a slash."""
    bucket, prefix = _bucket_and_prefix(uri)
    with s3_errors(uri):
        for entry in list(_objects(bucket, prefix)):
            _call("delete_object", Bucket=bucket, Key=entry["Key"])


def uploads(uri: str) -> list[Upload]:
    """The multipart uploads under the prefix, the live ones among them."""
    bucket, prefix = _bucket_and_prefix(uri)
    found: list[Upload] = []
    marker: dict[str, str] = {}
    with s3_errors(uri):
        while True:
            page = _call("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marker)
            # Some servers match the prefix of a whole path.
            found += [
                _upload(bucket, upload)
                for upload in page.get("Uploads", [])
                if upload["Key"].startswith(prefix)
            ]
            if not page.get("IsTruncated"):
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def abandon(upload: Upload) -> None:
    """Ends the upload; its parts go."""
    with s3_errors(upload.uri):
        _call("abort_multipart_upload", Bucket=upload.bucket, Key=upload.key, UploadId=upload.id)


def _bucket_and_prefix(uri: str) -> tuple[str, str]:
    """The bucket, and the prefix with its slash; no prefix for a whole bucket."""
    bucket, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
    return bucket, f"{prefix}/" if prefix else ""


def _objects(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    token: dict[str, str] = {}
    while True:
        page = _call("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
        yield from (entry for entry in page.get("Contents", []) if entry["Key"].startswith(prefix))
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _upload(bucket: str, upload: dict[str, Any]) -> Upload:
    key, id_ = upload["Key"], upload["UploadId"]
    parts = _call("list_parts", Bucket=bucket, Key=key, UploadId=id_).get("Parts", [])
    return Upload(bucket, key, id_, upload["Initiated"], sum(part["Size"] for part in parts))


def _call(method: str, **arguments: object) -> dict[str, Any]:
    return dict(filesystem(os.getpid()).call_s3(method, **arguments))
