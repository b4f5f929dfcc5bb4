"""Truths about reading ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.data.ahead import ahead


@given(st.lists(st.none() | st.integers()))
def test_items_come_in_their_order_and_all_of_them(items):
    assert list(ahead(items)) == items


def test_the_next_item_is_made_while_the_current_one_is_in_use():
    made = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(3):
            made.release()
            yield number

    reader = ahead(items())
    assert next(reader) == 0
    assert made.acquire(timeout=10) and made.acquire(timeout=10)  # number 1 is made without having been asked for
    assert not made.acquire(timeout=0.05)  # and number 2 is not: one item ahead, no more
    assert list(reader) == [1, 2]


def test_an_error_comes_where_its_item_would_have():
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no such file")

    reader = ahead(items())
    assert next(reader) == 1
    with pytest.raises(OSError, match="no such file"):
        next(reader)


def test_a_reader_that_stops_early_leaves_no_thread():
    reader = ahead(range(100))
    assert next(reader) == 0
    reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
