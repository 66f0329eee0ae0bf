"""A generator that a thread runs one item ahead of the caller."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import suppress

import pytest

from atlas_pipeline.images.read_ahead import ReadAhead


class Item:
    pass


class Source:
    """Items, and how far their generator got."""

    def __init__(self, num, error=None):
        self.num_made, self.is_closed, self.asked = 0, False, threading.Semaphore(0)
        self.items = self._items(num, error)

    def _items(self, num, error):
        try:
            for _ in range(num):
                self.num_made += 1
                self.asked.release()
                yield Item()
            if error is not None:
                raise error
        finally:
            self.is_closed = True


def reading(source):
    return ReadAhead(source.items, threading.Event())


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_one_item_is_made_ahead_and_no_more():
    source = Source(9)
    with reading(source) as ahead:
        for taken in range(1, 5):
            next(ahead)
            # The thread makes one item more than was taken, then waits for room.
            while source.num_made <= taken:
                assert source.asked.acquire(timeout=10)
            threads()[0].join(0.05)
            assert source.num_made == taken + 1


def test_items_come_in_order_and_end():
    numbers = (number for number in range(50))
    with ReadAhead(numbers, threading.Event()) as ahead:
        assert list(ahead) == list(range(50))
        assert next(ahead, "none") == "none"
    assert threads() == []


@pytest.mark.parametrize("error", [ValueError("cut off"), KeyboardInterrupt(), MemoryError()])
def test_errors_keep_their_type_and_follow_the_items_before(error):
    with reading(Source(2, error)) as ahead:
        next(ahead), next(ahead)
        with pytest.raises(type(error)) as found:
            next(ahead)
        assert found.value is error
        assert next(ahead, None) is None
    assert threads() == []


def test_leaving_early_closes_the_generator_and_frees_the_items():
    source = Source(9)
    with suppress(KeyboardInterrupt), reading(source) as ahead:
        item = weakref.ref(next(ahead))
        raise KeyboardInterrupt
    assert (source.is_closed, threads()) == (True, [])
    assert source.num_made < 4
    del ahead
    gc.collect()
    assert item() is None


def test_a_generator_that_works_long_sees_that_the_caller_left():
    left, working = threading.Event(), threading.Event()

    def items():
        yield 0
        working.set()
        while not left.wait(0.01):
            pass

    with ReadAhead(items(), left) as ahead:
        next(ahead)
        assert working.wait(10)
    assert threads() == []
