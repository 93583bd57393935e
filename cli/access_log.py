"""Where a server's log goes: to stderr, written by a thread, so that a reader that stops does not stop the server."""

import logging
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener

_MOST = 10_000
"""Lines that wait to be written; more are dropped."""


class _Dropping(QueueHandler):
    """Hands lines to the thread that writes them, or drops them where too many wait."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """See `QueueHandler`."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


@contextmanager
def access_log() -> Iterator[None]:
    """Write what the server, and uvicorn below it, log meanwhile."""
    writer = logging.StreamHandler()
    writer.setFormatter(logging.Formatter("%(message)s"))
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_MOST)
    handler, listener = _Dropping(lines), QueueListener(lines, writer)
    loggers = {logging.getLogger("srcache.server"): logging.INFO, logging.getLogger("uvicorn"): logging.ERROR}
    for logger, level in loggers.items():
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    listener.start()
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        listener.stop()
