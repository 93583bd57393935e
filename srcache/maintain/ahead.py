"""Work in threads whose results come in order, of which only a few are made ahead: images are large."""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from srcache.machine import cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOST_THREADS = 16


def work_ahead(
    act: Callable[[_Item], _Result],
    items: Iterable[_Item],
    threads: int | None = None,
    stop: Callable[[], None] | None = None,
) -> Generator[_Result, None, None]:
    """`map(act, items)` in threads, two results for each of them ahead.

    Closing it waits for what is being done, and drops the rest.

    Args:
        act: done to each item.
        items: taken one by one, in the thread of the caller.
        threads: how many; None for as many as this process has cores.
        stop: called first when it ends early, to cut short what is being done.
    """
    threads = threads or min(_MOST_THREADS, cores())
    waiting, left = deque[Future[_Result]](), iter(items)
    pool, is_done = ThreadPoolExecutor(threads, thread_name_prefix="srcache-ahead"), False
    try:
        while True:
            waiting.extend(pool.submit(act, item) for item in itertools.islice(left, 2 * threads - len(waiting)))
            if not waiting:
                is_done = True
                return
            yield waiting.popleft().result()
    finally:
        if stop is not None and not is_done:
            stop()
        pool.shutdown(cancel_futures=True)
