"""Batches ahead of time: threads on the CPU, where torch lets go of the interpreter lock."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["batches_from"]

T = TypeVar("T")


@contextmanager
def batches_from(make: Callable[[int], T], start: int, workers: int) -> Iterator[Iterator[T]]:
    """Yield an endless iterator over make(start), make(start + 1), ... in order.

    Parameters
    ----------
    make
        Makes one batch; must depend on its index alone, since threads call it in any order.
    start
        First index.
    workers
        Threads; 0 makes each batch when it is asked for (on a GPU, whose work is asynchronous
        anyway).
    """
    if workers == 0:
        yield _one_by_one(make, start)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        waiting: deque[Future[T]] = deque()
        try:
            yield _ahead(pool, waiting, make, start, workers + 1)
        finally:
            for future in waiting:
                future.cancel()


def _one_by_one(make: Callable[[int], T], index: int) -> Iterator[T]:
    while True:
        yield make(index)
        index += 1


def _ahead(
    pool: ThreadPoolExecutor,
    waiting: deque[Future[T]],
    make: Callable[[int], T],
    index: int,
    depth: int,
) -> Iterator[T]:
    while True:
        while len(waiting) < depth:
            waiting.append(pool.submit(make, index))
            index += 1
        yield waiting.popleft().result()
