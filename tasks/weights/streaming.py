"""The input files of a shard by range requests, without a file on this machine's disk.

What a shard reads is known before it begins, so its reads become ranges of some megabytes in
the order of their use:

    reads    |t0|t1 |  t2        |t3|      t4          |
    ranges   |   0      |   1       |    2     |   3   |
                  read      in flight, AHEAD of them

A range goes as soon as its last byte was used. Each is asked for again by itself when its
request fails (the source does that). A file that is read whole and in order is hashed on the
way, so nothing is lost against a download; of another each answer's size and ETag are
compared with the listing's, and the manifest says so.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Literal, NamedTuple, Self

from tasks.core.errors import CorruptError
from tasks.stores.source import Source
from tasks.weights.headers import ITEM_BYTES
from tasks.weights.jobs import ShardJob
from tasks.weights.receipts import Check
from tasks.weights.slots import spans
from tasks.weights.streaming_digest import StreamingDigest

__all__ = ["AHEAD", "RANGE_BYTES", "Read", "StreamedInputs", "reads_of"]

RANGE_BYTES = 8 * 1024**2
AHEAD = 4  # ranges in flight or waiting to be read, for each checkpoint
GAP_BYTES = 64 * 1024  # shorter gaps between two reads are fetched too: cheaper than another request
EDGE_BYTES = 4 * 1024**2  # header or directory of a file that is read whole otherwise
READERS = "expo-read-ahead"  # how the threads are named that read


class Read(NamedTuple):
    """Bytes [start, stop) of a file."""

    file: str
    start: int
    stop: int


def reads_of(job: ShardJob, side: Literal["aligned", "sft"]) -> Iterator[Read]:
    """What the shard reads of one checkpoint: scales first, then in the order of its slots."""
    for scale in job.scales(side):
        yield Read(scale.file, scale.offset, scale.offset + scale.nbytes)
    for tensor in job.tensors:
        for first, count, sft_first in spans(tensor):
            place, start = (tensor.aligned, first) if side == "aligned" else (tensor.sft_at(first), sft_first)
            if place is not None and start is not None:
                begin = place.offset + start * ITEM_BYTES[place.dtype]
                yield Read(place.file, begin, begin + count * ITEM_BYTES[place.dtype])


class _Range:
    """One request: bytes [start, stop) of a file, of which `unread` are still to be read."""

    def __init__(self, file: str, start: int, stop: int) -> None:
        self.file, self.start, self.stop = file, start, stop
        self.unread = 0
        self.content: Future[bytes] | None = None


class StreamedInputs:
    """The weight files of one checkpoint, read ahead of their use; about AHEAD ranges are held."""

    def __init__(self, source: Source, reads: Iterable[Read]) -> None:
        self._source = source
        sizes = {file: info.size for file, info in source.files().items()}
        ranges, whole = _plan(list(reads), sizes)
        stated = {file: source.files()[file].sha256 for file in whole}
        self._digests = {file: StreamingDigest(sha256) for file, sha256 in stated.items() if sha256}
        self._waiting = iter(ranges)
        self._of_file: dict[str, list[_Range]] = defaultdict(list)
        for piece in ranges:
            self._of_file[piece.file].append(piece)
        self._held = 0
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix=READERS)

    def __enter__(self) -> Self:
        with self._lock:
            self._read_ahead()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=error is None, cancel_futures=True)

    def read_into(self, buffer: memoryview, file: str, offset: int) -> None:
        """Fills the buffer with the file's bytes from `offset` on.

        Raises:
            CorruptError: the file ends before the buffer is full.
            ExpoError: whatever the source raises.
        """
        while buffer:
            found = self._find(file, offset)
            start = found.start if found else offset
            if found and found.content:
                content = memoryview(found.content.result())[offset - start :]
            else:  # bytes that two tensors share, already let go
                content = memoryview(self._source.read(file, offset, len(buffer)))
            count = min(len(buffer), len(content))
            if count == 0:
                raise CorruptError(f"{file}: ends at byte {offset}, within a tensor; publish it again")
            buffer[:count] = content[:count]
            if found:
                self._used(found, count)
            buffer, offset = buffer[count:], offset + count

    def check(self, file: str) -> Check:
        """Waits for a whole file's digest, where one was made.

        Raises:
            RetryableError: it is not the one that the source states.
        """
        if file in self._digests:
            self._fetch_the_rest()
            self._digests[file].require(f"{self._source.checkpoint.uri} {file}")
            return "sha256"
        info = self._source.files()[file]
        return "size and etag" if info.etag else "none"

    def _fetch_the_rest(self) -> None:
        with self._lock:
            for piece in self._waiting:
                self._begin(piece)
        self._pool.shutdown()

    def _find(self, file: str, offset: int) -> _Range | None:
        """The first range in the order of use that has the byte; its request begins if it has not yet."""
        with self._lock:
            for piece in self._of_file[file]:
                if piece.start <= offset < piece.stop:
                    self._begin(piece)
                    return piece
        return None

    def _used(self, piece: _Range, count: int) -> None:
        with self._lock:
            piece.unread -= count
            if piece.unread <= 0:
                self._let_go(piece)
                self._read_ahead()

    def _read_ahead(self) -> None:
        while self._held < AHEAD and (piece := next(self._waiting, None)):
            self._begin(piece)
            if piece.unread == 0:  # only hashed
                self._let_go(piece)

    def _begin(self, piece: _Range) -> None:
        if piece.content is None:
            piece.content = self._pool.submit(self._fetch, piece)
            self._held += 1

    def _let_go(self, piece: _Range) -> None:
        if piece in self._of_file[piece.file]:
            self._of_file[piece.file].remove(piece)
            self._held -= 1

    def _fetch(self, piece: _Range) -> bytes:
        content = self._source.read(piece.file, piece.start, piece.stop - piece.start)
        if piece.file in self._digests:
            self._digests[piece.file].add(piece.start, content)
        return content


def _plan(reads: list[Read], sizes: dict[str, int]) -> tuple[list[_Range], set[str]]:
    """The requests in the order of use, and the files that they read whole and in order."""
    runs: list[list[Read]] = []
    for read in reads:
        last = runs[-1][-1] if runs else None
        if last and last.file == read.file and 0 <= read.start - last.stop <= GAP_BYTES:
            runs[-1].append(read)
        elif read.stop > read.start:
            runs.append([read])
    count: dict[str, int] = defaultdict(int)
    for run in runs:
        count[run[0].file] += 1
    whole = {run[0].file for run in runs if count[run[0].file] == 1 and _reaches(run, sizes[run[0].file])}
    return [piece for run in runs for piece in _cut(run, sizes[run[0].file], run[0].file in whole)], whole


def _reaches(run: list[Read], size: int) -> bool:
    """Whether a run of reads covers its file but for a header and a directory."""
    return run[0].start <= EDGE_BYTES and size - run[-1].stop <= EDGE_BYTES


def _cut(run: list[Read], size: int, whole: bool) -> list[_Range]:
    start, stop = (0, size) if whole else (run[0].start, run[-1].stop)
    begins = range(start, stop, RANGE_BYTES)
    ranges = [_Range(run[0].file, begin, min(begin + RANGE_BYTES, stop)) for begin in begins]
    for read in run:
        for piece in ranges[(read.start - start) // RANGE_BYTES : -(-(read.stop - start) // RANGE_BYTES)]:
            piece.unread += min(read.stop, piece.stop) - max(read.start, piece.start)
    return ranges
