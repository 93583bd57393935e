"""From an engine's output to an entry of a store: finished, checked, quantised, brought to size, encoded, recorded."""

import json
import math
from typing import TYPE_CHECKING

from srcache.engine.interface import Failure, Unfinished, Upscaled, upscaled_side
from srcache.images import encode, from_tensor, resize, to_batch
from srcache.recipe.recipe import Recipe
from srcache.service.requests import Request
from srcache.service.runner import Outcome, failure_of
from srcache.stores import Entry, with_checksums

if TYPE_CHECKING:
    from torch import Tensor


class ResultEncoder:
    """Makes entries of a store of an engine's outputs, for one recipe. Keeps no state: many threads may share one.

    Args:
        recipe: says the scale, and the codec if that is a lossy one.
        codec: lossless codec of stored images otherwise.
        device: what records say about where an image was computed.
    """

    def __init__(self, recipe: Recipe, codec: str, device: str) -> None:
        self._scale, self._codec, self._device = recipe.scale, recipe.codec or codec, device

    def entry(self, request: Request, outcome: Outcome, milliseconds: float) -> Entry | Failure:
        """The entry for a request, or why there is none; `milliseconds` is the engine's time for the image.

        Raises:
            SrcacheError: it is no image's fault.
        """
        try:
            if isinstance(outcome, Unfinished):
                outcome = outcome.finish()
            return outcome if isinstance(outcome, Failure) else self._entry(request, outcome, milliseconds)
        except Exception as error:  # an odd tensor, odd notes, an image too large for its codec: this image's own
            return failure_of(error)

    def _entry(self, request: Request, upscaled: Upscaled, milliseconds: float) -> Entry | Failure:
        source = to_batch([request.lr])[0]
        wrong = unusable(upscaled.image, source, self._scale)
        if wrong is not None:
            return wrong
        pixels = resize(from_tensor(upscaled.image), request.size, "lanczos")
        payload = encode(pixels, self._codec)
        known = {
            **request.record,
            "lr": list(request.shape),
            "size": list(request.size),
            "notes": dict(upscaled.notes),
            "milliseconds": milliseconds,
            "device": self._device,
        }
        record = with_checksums(known, payload)
        json.dumps(record, allow_nan=False)
        return Entry(request.name, payload, record, request.aliases)


def unusable(image: "Tensor", source: "Tensor", scale: float) -> Failure | None:
    """Why an output must not be stored: it is not finite, out of range, of a wrong shape, or blank.

    Blank (constant, so black too) is a failure only if the source was not, and only for an enlargement: white paper
    stays white, but a decoder that overflowed in half precision also gives one flat colour.
    """
    expected = (3, *(upscaled_side(side, scale) for side in source.shape[-2:]))
    if tuple(image.shape) != expected:
        return Failure("wrong_shape", f"expected an output of shape {expected}, but got {tuple(image.shape)}")
    low, high = image.amin((-2, -1)), image.amax((-2, -1))  # NaN comes through both
    least, most = float(low.min()), float(high.max())
    if not (math.isfinite(least) and math.isfinite(most)):
        return Failure("not_finite", "the engine's output holds values that are not numbers")
    if least < -1e-3 or most > 1 + 1e-3:
        return Failure("out_of_range", "the engine's output leaves [0, 1]")
    flat = bool((low == high).all())
    if flat and scale >= 1 and not bool((source.amax((-2, -1)) == source.amin((-2, -1))).all()):
        return Failure("blank", "the engine's output is one flat colour, but its input is not")
    return None
