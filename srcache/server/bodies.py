"""The body of a request: counted before it is read, limited in bytes, and cut off if it comes too slowly."""

import asyncio
import time

from starlette.requests import Request

from srcache.server.answers import Refusal
from srcache.server.headers import said
from srcache.server.limits import BODY, ByteBudget, Hold

_GRACE = 10.0
_SLOWEST = 100_000
"""A body may take so many seconds, and another one for each so many bytes that have arrived."""

_STEP = 1 << 20


async def read_body(request: Request, most: int, budget: ByteBudget) -> tuple[bytes, Hold]:
    """The complete body of a request, and the memory that it holds until that is released.

    Raises:
        Refusal: 400 without a body, 408 too slow, 413 too large, 503 no memory now.
        ClientDisconnect: the client is gone.
    """
    announced = _announced(request, most)
    hold = budget.take(BODY * announced)
    pieces: list[bytes] = []
    count, began = 0, time.monotonic()
    try:
        async with asyncio.timeout(_GRACE) as limit:
            async for piece in request.stream():
                count += len(piece)
                if count > most:
                    raise _too_large(most)
                if BODY * count > hold.count:
                    hold.resize(BODY * (count + _STEP))
                pieces.append(piece)
                limit.reschedule(asyncio.get_running_loop().time() + began - time.monotonic() + _allowed(count))
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if not data:
            raise Refusal(400, "no_body", "the request has no body; send the bytes of one image file")
        hold.resize(BODY * len(data))
    except TimeoutError as error:
        hold.release()
        raise Refusal(
            408,
            "too_slow",
            f"the body came too slowly, {count} bytes in {time.monotonic() - began:.0f} s; send it again",
            headers={"Connection": "close"},
        ) from error
    except BaseException:
        hold.release()
        raise
    return data, hold


def _announced(request: Request, most: int) -> int:
    """The length that the headers announce; 0 where they announce none."""
    text = said(request.scope, b"content-length") or "0"
    if not (text.isascii() and text.isdecimal()):
        raise Refusal(400, "bad_header", "Content-Length must be a number of bytes")
    if len(text) > 18 or int(text) > most:
        raise _too_large(most)
    return int(text)


def _allowed(count: int) -> float:
    return _GRACE + count / _SLOWEST


def _too_large(most: int) -> Refusal:
    return Refusal(413, "too_large", f"a body may have {most} bytes here, and this one has more; send a smaller file")
