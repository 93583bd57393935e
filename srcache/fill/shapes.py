"""How many engine calls a run takes: of which shapes its images are, and what of the batches would only be filled up.

Shapes are read from the headers of files. If there is time for all of them, the service's own queue is run over them,
and the answer is what a run would do, as far as memory allows. Else what there is no time for is taken to be like the
rest; but shapes that were met once are a sign of more that were not met at all: their share is that of new shapes among
the images not looked at (I. J. Good, Biometrika 1953, "The population frequencies of species").
"""

import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from srcache.catalog.rows import Catalog
from srcache.engine.interface import SREngine
from srcache.errors import ImageError
from srcache.fill.plan import Plan
from srcache.images import shown_sides
from srcache.recipe.recipe import Recipe
from srcache.service.batching import BatchQueue, queue_for
from srcache.service.requests import Request, Shape

LOOK_SECONDS = 3.0
"""How long a dry run looks at headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RareShape:
    """A shape of which there are fewer images than a batch has: (height, width) of what the engine gets."""

    shape: Shape
    images: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCount:
    """The engine calls of a run.

    Attributes:
        images: that are asked for and can be read.
        calls: of the engine.
        computed: images that the engine is given, those that only fill a batch up too.
        shapes: how many there are; `rare` are those with fewer images than a batch, the most wasteful first.
        is_exact: whether all images were looked at.
    """

    images: int = 0
    calls: int = 0
    computed: int = 0
    shapes: int = 0
    rare: tuple[RareShape, ...] = ()
    is_exact: bool = True

    @property
    def filling(self) -> int:
        """Images that only fill batches up, and would not be computed in batches of one (`batch=1`)."""
        return self.computed - self.images


def count_calls(
    catalog: Catalog, recipe: Recipe, plan: Plan, engine: SREngine, batch: int | None, *, pads: bool
) -> CallCount:
    """The calls of a run in one process.

    Args:
        catalog: and `recipe` and `plan`, of the run; the plan in an order of which each beginning is like the whole.
        engine: of the recipe, on its device.
        batch: images per call, if that is not left to the engine.
        pads: whether short batches are filled up.
    """
    queue = queue_for(engine, recipe.scale, batch, math.inf)
    rows = Counter(position // plan.samples for position in plan.missing)
    shapes, looked = _look(catalog, recipe, rows)
    if not shapes:
        return CallCount()
    met = Counter[Shape]()
    for row, shape in shapes.items():
        met[shape] += rows[row]
    if looked == len(rows):
        calls = _run_queue(queue, [shapes[row] for row in sorted(shapes) for _ in range(rows[row])])
    else:
        each = rows.total() / len(rows)
        calls = _extended(queue, Counter(shapes.values()), len(rows) * len(shapes) / looked, each)
    rare = [
        RareShape(shape=shape, images=count, batch=queue.width(shape))
        for shape, count in met.items()
        if count < queue.width(shape) and pads
    ]
    images = round(sum(count for _, count, _ in calls))
    return CallCount(
        images=images,
        calls=round(sum(times for times, _, _ in calls)),
        computed=max(images, round(sum(times * width for times, _, width in calls))) if pads else images,
        shapes=len(met),
        rare=tuple(sorted(rare, key=lambda one: (one.images - one.batch, one.shape))),
        is_exact=looked == len(rows),
    )


def _look(catalog: Catalog, recipe: Recipe, rows: Iterable[int]) -> tuple[dict[int, Shape], int]:
    """The shapes of rows, as many as the time allows; and how many were looked at."""
    until, looked, found = time.perf_counter() + LOOK_SECONDS, 0, dict[int, Shape]()
    for row in rows:
        if found and time.perf_counter() > until:
            break
        looked += 1
        try:
            found[row] = _engine_shape(catalog, recipe, row)
        except ImageError:  # it will be a failure, and no work
            continue
    return found, looked


def _engine_shape(catalog: Catalog, recipe: Recipe, row: int) -> Shape:
    """(height, width) of what the engine gets of a row."""
    data = catalog.data(row)
    height, width = catalog.load(row).rgb.shape[:2] if data is None else shown_sides(data)
    return recipe.degradation.size(height, width) if recipe.degradation else (height, width)


_Calls = list[tuple[float, float, int]]
"""So many calls, on so many images together, of such a width each."""


def _run_queue(queue: BatchQueue, shapes: list[Shape]) -> _Calls:
    """The batches of a run whose images come in this order."""
    calls: _Calls = []
    requests = {shape: _request(shape) for shape in set(shapes)}

    def take(hurry: bool = False) -> None:
        while some := queue.take(0.0, hurry=hurry, idle=False):
            calls.append((1, len(some), queue.width(some[0].shape)))

    for shape in shapes:
        queue.add(requests[shape], 0.0)
        take()
    take(hurry=True)
    return calls


def _request(shape: Shape) -> Request:
    """A request without pixels of its own."""
    return Request(name="", lr=np.broadcast_to(np.zeros(1, np.uint8), (*shape, 3)), seed=0, size=shape)


def _extended(queue: BatchQueue, met: Counter[Shape], total: float, each: float) -> _Calls:
    """The least that `total` sources take, `each` images of every one; some were looked at: `met`, by shape."""
    seen, once = met.total(), [shape for shape, count in met.items() if count == 1]
    unseen = max(0.0, total - seen)
    new = unseen * len(once) / seen
    grown = 1 + (unseen - new) / max(1, seen - len(once))
    calls: _Calls = []
    for shape, count in met.items():
        images, width = each * count * (grown if count > 1 else 1), queue.width(shape)
        calls.append((math.ceil(images / width), images, width))
    for shape in once:
        width = queue.width(shape)
        calls.append((new / len(once) * math.ceil(each / width), each * new / len(once), width))
    return calls
