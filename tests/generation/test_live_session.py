"""What a live engine's client makes of its replies, which are written here in the engine's place."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path

import pytest

from tasks.core.errors import InputError, RetryableError
from tasks.core.values import canonical_json
from tasks.generation.forked import ForkedEngine
from tasks.generation.live_orders import LiveReply
from tasks.generation.live_session import LiveEngine, UnfitError, live_engine
from tasks.generation.settings import GenerationJob, GenerationSettings

Connect = Callable[..., LiveEngine]
JOB = GenerationJob(
    model="a/model",
    instructions="prompts.json",
    output="the/output",
    settings=GenerationSettings(),
    generator="test",
    benchmark="alpaca_eval",
    form="instructions",
)


@pytest.fixture
def status() -> Iterator[tuple[FileIO, FileIO]]:
    """The ends of the pipe that says how the engine does."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with FileIO(reading) as hears, FileIO(writing, "w") as says:
        yield hears, says


@pytest.fixture
def engine(status: tuple[FileIO, FileIO]) -> Iterator[Connect]:
    """Gives a client that is sent some replies and then no more."""
    with ExitStack() as stack:

        def connect(*replies: LiveReply, advance: Callable[[int], None] = lambda _: None) -> LiveEngine:
            reading, writing = os.pipe()
            stack.callback(os.close, reading)
            os.write(writing, b"".join(canonical_json(reply) + b"\n" for reply in replies))
            os.close(writing)
            orders = stack.enter_context(FileIO(os.devnull, "w"))
            process = ForkedEngine(None, status[0], Path())  # type: ignore[arg-type]
            return LiveEngine(process, orders, reading, JOB, advance)

        yield connect


def test_an_engine_that_does_not_reload_rightly_is_unfit(engine: Connect) -> None:
    """So a search goes through files instead; the message names the model and the engine's log."""
    with pytest.raises(UnfitError, match=r"a/model: new weights .* see the/output/engine\.log"):
        engine(LiveReply(kind="unfit")).wait("ready")


def test_an_engine_that_does_not_serve_its_adapter_says_why(engine: Connect) -> None:
    with pytest.raises(UnfitError, match=r"a/model: no place for o_proj; see the/output/engine\.log"):
        engine(LiveReply(kind="unfit", message="no place for o_proj")).wait("ready")


def test_progress_is_handed_on_and_errors_keep_their_class(engine: Connect) -> None:
    counts: list[int] = []
    failed = LiveReply(kind="failed", error="InputError", message="no room")
    running = engine(
        LiveReply(kind="ready"),
        LiveReply(kind="progress", count=3),
        LiveReply(kind="done"),
        failed,
        advance=counts.append,
    )
    running.wait("ready")
    running.wait("done")
    assert counts == [3]
    with pytest.raises(InputError, match="live engine of a/model: no room"):
        running.wait("done")


def test_an_engine_that_ends_without_a_word_may_be_tried_again(
    engine: Connect, status: tuple[FileIO, FileIO]
) -> None:
    running = engine(LiveReply(kind="ready"))
    running.wait("ready")
    status[1].write(b"pid 7\nstatus -9\n")
    with pytest.raises(RetryableError, match="signal 9"):
        running.wait("done")


def test_without_a_scratch_folder_nothing_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full() -> Iterator[Path]:
        raise OSError(28, "No space left on device")
        yield tmp_path

    monkeypatch.setattr("tasks.generation.forked.scratch_folder", full)
    job = JOB.model_copy(update={"output": str(tmp_path)})
    before = set(Path("/proc/self/fd").iterdir())
    with (
        pytest.raises(OSError, match="No space"),
        live_engine(job, pair=None, sft=None, advance=lambda _: None),
    ):
        pass
    assert set(Path("/proc/self/fd").iterdir()) <= before
