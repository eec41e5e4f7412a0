"""A link of limited speed to a server on loopback: what a network would be.

    with SlowLink(server.port, down=40e6, up=20e6) as link:
        ...                                  link.url is the same server, at 40 and 20 MB/s

All connections share the link, as they would share a network. `down` is towards the client.
"""

import asyncio
import contextlib
import threading
import time
from types import TracebackType
from typing import Self

__all__ = ["SlowLink"]

CHUNK = 64 * 1024


class _Direction:
    """Lets so many bytes a second through, whoever sends them; None: all at once."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0
        self.bytes = 0

    async def pace(self, count: int) -> None:
        self.bytes += count
        if self._rate:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            await asyncio.sleep(self._free_at - now)


class SlowLink:
    """Forwards a free port of 127.0.0.1 to `port`, in a thread of this process."""

    def __init__(self, port: int, down: float | None = None, up: float | None = None) -> None:
        self._target = port
        self._down, self._up = _Direction(down), _Direction(up)
        self._cut = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes towards the client, and towards the server, so far."""
        return self._down.bytes, self._up.bytes

    def cut(self, times: int = 1) -> None:
        """The next answers that are longer than a chunk break off behind their first one."""
        self._cut = times

    def __enter__(self) -> Self:
        started = threading.Event()

        async def serve() -> None:
            self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
            server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await self._ended.wait()
            server.close()

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(timeout=10)

    async def _connect(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        # cancelled when the link ends: asyncio would write a traceback of each connection
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(answer):
            server, request = await asyncio.open_connection("127.0.0.1", self._target)
            with contextlib.closing(request):
                await asyncio.gather(
                    self._carry(client, request, self._up), self._carry(server, answer, self._down)
                )

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, direction: _Direction
    ) -> None:
        with contextlib.suppress(OSError):
            while content := await source.read(CHUNK):
                await direction.pace(len(content))
                target.write(content)
                await target.drain()
                if self._cut and direction is self._down and len(content) == CHUNK:
                    self._cut -= 1
                    break
            target.close()
