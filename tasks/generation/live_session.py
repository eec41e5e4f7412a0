"""The client of a live engine: starts it, sends orders one by one, and ends it with the block.

with live_engine(job, sft=folder, advance=progress.advance) as engine:
    engine.obey(order)
"""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path

from tasks.core import errors
from tasks.core.errors import ExpoError, PermanentError
from tasks.core.values import Value, canonical_json
from tasks.generation.engine import log_file
from tasks.generation.failures import engine_error
from tasks.generation.forked import ForkedEngine, forked_engine
from tasks.generation.live_orders import LiveReply, LiveSetup
from tasks.generation.settings import GenerationJob
from tasks.weights.recipe import Recipe

__all__ = ["LiveEngine", "UnfitError", "live_engine"]

MODULE = "tasks.generation.live_engine"
POLL_SECONDS = 0.25
END_SECONDS = 20.0
NOT_RELOADED = "new weights in this running vLLM do not answer as the same weights in a fresh one"


class UnfitError(PermanentError):
    """The running engine does not load new weights correctly, or does not serve the adapter."""


class LiveEngine:
    """A running engine that takes orders."""

    def __init__(
        self,
        process: ForkedEngine,
        orders: FileIO,
        replies: int,
        job: GenerationJob,
        advance: Callable[[int], None],
    ) -> None:
        self._process, self._orders, self._replies = process, orders, replies
        self._job, self._advance = job, advance
        self._unread, self._is_idle = b"", True

    @property
    def pid(self) -> int | None:
        """Of its process; None: it has not been seen to run."""
        return self._process.pid

    def obey(self, order: Value) -> None:
        """Has an order of the module's kind done; when this returns, what it asks for is on the disk.

        Raises:
            ExpoError: what the engine raised; RetryableError where it died.
        """
        line = canonical_json(order) + b"\n"
        self._is_idle = False
        try:
            while line:
                line = line[self._orders.write(line) :]
        except BrokenPipeError:
            raise engine_error(self._job, self._process.wait()) from None
        self.wait("done")
        self._is_idle = True

    def end(self) -> None:
        """Has an engine with worker processes end by itself, unless it has an order to do.

        Killed together, they would leave vLLM's shared memory behind.
        """
        if self._is_idle and self._job.settings.workers > 1:
            self._orders.close()
            self._process.wait_for(END_SECONDS)

    def wait(self, kind: str) -> None:
        """Follows the replies until one of this kind.

        Raises:
            UnfitError: the engine's check of reloads failed, or it does not serve its adapter.
            ExpoError: as `obey`.
        """
        while True:
            reply = self._next_reply()
            if reply.kind == "progress":
                self._advance(reply.count)
            elif reply.kind == kind:
                return
            elif reply.kind == "unfit":
                log = Path(self._job.output) / log_file(0)
                raise UnfitError(f"{self._job.model}: {reply.message or NOT_RELOADED}; see {log}")
            else:
                error: type[ExpoError] = getattr(errors, reply.error, PermanentError)
                raise error(f"live engine of {self._job.model}: {reply.message}")

    def _next_reply(self) -> LiveReply:
        while b"\n" not in self._unread:
            running = self._process.poll() is None  # asked before the read: nothing written is missed
            if not select.select([self._replies], [], [], POLL_SECONDS if running else 0)[0]:
                if not running:
                    raise engine_error(self._job, self._process.wait())
                continue
            content = os.read(self._replies, 1 << 16)
            if not content:
                raise engine_error(self._job, self._process.wait())
            self._unread += content
        line, _, self._unread = self._unread.partition(b"\n")
        return LiveReply.model_validate_json(line)


@contextmanager
def live_engine(
    job: GenerationJob,
    *,
    pair: Recipe | None,
    sft: Path | None,
    advance: Callable[[int], None],
    aligned: Path | None = None,
    adapter: Path | None = None,
    python: str | None = None,
    module: str = MODULE,
) -> Iterator[LiveEngine]:
    """An engine that has loaded the job's model.

    Args:
        pair, sft: a recipe of the pair at whatever α, and the folder of θ_0, for orders with a recipe;
            None: the engine answers with the model as it is.
        aligned: the folder of an adapter, which the job's model has merged at α = 0; None: the model's own.
        adapter: the folder of a LoRA adapter to serve the job's model with, for orders that name one.
        python: another environment's interpreter, with this project's dependencies for weights.
        module: whose process takes the orders; see `tasks.generation.order_loop`.

    Raises:
        UnfitError: a pair is given, and this vLLM does not reload this architecture rightly; or an
            adapter, and it does not compute with all of it.
        InputError, PermanentError, RetryableError: as `tasks.generation.process.generate`.
    """
    Path(job.output).mkdir(parents=True, exist_ok=True)
    log = Path(job.output) / log_file(0)
    log.unlink(missing_ok=True)
    setup = LiveSetup(
        job=job,
        sft=str(sft) if sft else None,
        aligned=str(aligned) if aligned else None,
        pair=pair,
        adapter=str(adapter) if adapter else None,
    )
    with ExitStack() as stack:
        replies, its_replies = _pipe(stack)
        its_orders, orders = _pipe(stack)
        process = stack.enter_context(
            forked_engine(
                module,
                setup,
                python=python or sys.executable,
                log=log,
                descriptors=[its_replies.fileno(), its_orders.fileno()],
            )
        )
        its_replies.close()
        its_orders.close()
        engine = LiveEngine(process, orders, replies.fileno(), job, advance)
        engine.wait("ready")
        yield engine
        engine.end()


def _pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """The two ends of a pipe, to read from and to write to."""
    reading, writing = os.pipe()
    return stack.enter_context(FileIO(reading, "r")), stack.enter_context(FileIO(writing, "w"))
