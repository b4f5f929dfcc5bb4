"""Reading ahead: the next batch is fetched while the current one is computed on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """`items` in their order, each asked for, in a thread of its own, as soon as the one before it is handed over.

    One item is held besides the current one. What `items` raises is raised where its item would have come; when the
    reader stops early, the item under way is finished and let go, and the thread ends.
    """
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, source, end)
            yield item  # pyright: ignore[reportReturnType] (`end` is not handed over)
