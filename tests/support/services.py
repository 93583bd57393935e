"""An engine, a store and a few helpers for tests of the service; all that waits has a limit."""

import math
import threading
from pathlib import Path

from engines import enlarged

from srcache.engine.interface import EngineInfo, Upscaled
from srcache.keys import entry_name, image_key
from srcache.recipe.reading import resolve
from srcache.service.requests import Request
from srcache.service.service import ServiceSettings, SRService
from srcache.stores import open_store

LIMIT = 20
"""Seconds after which something that waits is taken to be stuck."""

RECIPE = resolve({"name": "t", "engine": "test-faulty", "scale": 2})


class Probe:
    """Doubles images and notes the batches that it saw; waits for `gate` if there is one."""

    def __init__(self, batch=4, pads=False, gate=None, act=None):
        self.info = EngineInfo(name="probe", summary="", scales=(2,), pads=pads, batch=batch)
        self.shapes: list[tuple[int, ...]] = []
        self.seeds: list[int] = []
        self._gate, self._act = gate, act

    def upscale(self, images, seeds):
        self.shapes.append(tuple(images.shape))
        self.seeds += seeds
        if self._gate:
            assert self._gate.wait(LIMIT)
        instead = self._act(images) if self._act else None
        return instead if instead is not None else [Upscaled(image) for image in enlarged(images, 2)]


class Broken:
    """A memory store of which `put_many` (after so many entries) or `has` raises."""

    def __init__(self, error, after=0, where="put_many"):
        self.inner = open_store("memory", Path("broken"), writable=True)
        self._error, self._after, self._where = error, after, where

    def put_many(self, entries):
        if self._where == "put_many" and len(list(self.inner.names())) >= self._after:
            raise self._error
        return self.inner.put_many(entries)

    def has(self, name):
        if self._where == "has":
            raise self._error
        return self.inner.has(name)


def serve(engine, store, *, recipe=RECIPE, linger=math.inf, batch=None, encoders=2):
    return SRService(engine, recipe, store, ServiceSettings(batch=batch, linger=linger, encoders=encoders))


def name_of(number, sample=0):
    return entry_name(image_key(f"{number}".encode()), sample)


def ask(number, rgb):
    height, width = rgb.shape[:2]
    return Request(name=name_of(number), lr=rgb, seed=number, size=(2 * height, 2 * width))


def in_thread(act, *given):
    thread = threading.Thread(target=act, args=given, daemon=True)
    thread.start()
    return thread


def joined(*threads):
    for thread in threads:
        thread.join(LIMIT)
    return not any(thread.is_alive() for thread in threads)


def closed(service, **how):
    return joined(in_thread(lambda: service.close(**how)))


def joined_within(thread, seconds):
    thread.join(seconds)
    return not thread.is_alive()
