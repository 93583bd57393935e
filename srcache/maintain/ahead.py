"""Work in threads whose results come in order, of which only a few are made ahead: images are large."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOST_THREADS = 16


def work_ahead(
    act: Callable[[_Item], _Result], items: Iterable[_Item], threads: int | None = None
) -> Generator[_Result, None, None]:
    """`map(act, items)` in so many threads (None: as this process has cores), two results for each of them ahead.

    Closing it waits for what is being done, and drops the rest.
    """
    threads = threads or min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    waiting, left = deque[Future[_Result]](), iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="srcache-ahead")
    try:
        while True:
            waiting.extend(pool.submit(act, item) for item in itertools.islice(left, 2 * threads - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
