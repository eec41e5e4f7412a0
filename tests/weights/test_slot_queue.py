"""Slots from several threads: each taken once, in order, in the buffers that it was made in."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.weights.slot_queue import ReorderBuffer, StoppedError
from tests.waiting import LIMIT


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("buffers", [1, 2, 5])
def test_slots_are_taken_in_order(threads: int, buffers: int) -> None:
    taken: list[int] = []
    chance = random.Random(threads * buffers)

    def take(number: int, buffer: list[int], made: int) -> None:
        assert buffer == [made]
        taken.append(number)

    slots = ReorderBuffer(60, [[0] for _ in range(buffers)], take)

    def work() -> None:
        for number, buffer in slots.slots():
            buffer[0] = number * number
            time.sleep(chance.random() / 1000)
            slots.put(number, buffer, number * number)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()
    assert taken == list(range(60))


@pytest.mark.parametrize("where", ["take", "make"])
def test_a_failure_ends_every_thread(where: str) -> None:
    """Also one that waits for buffers."""

    def take(number: int, _buffers: None, _made: None) -> None:
        if (where, number) == ("take", 3):
            raise ValueError("of slot 3")

    slots = ReorderBuffer(1000, [None, None], take)

    def work() -> None:
        with slots.stop_on_error():
            for number, buffers in slots.slots():
                if (where, number) == ("make", 3):
                    raise ValueError("of slot 3")
                slots.put(number, buffers, None)

    with ThreadPoolExecutor(4) as pool:
        errors = [pool.submit(work).exception(timeout=LIMIT) for _ in range(4)]
    assert {type(error) for error in errors} <= {ValueError, StoppedError}
    assert sum(isinstance(error, ValueError) for error in errors) == 1
