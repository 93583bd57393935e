"""The promises of an engine, one function each; `srcache.conformance` runs them.

A cache stands on these promises: an entry is named after its source image and its recipe alone, so the pixels must
depend on nothing else: not on the images that happened to share a batch, nor on the order, the position, the process or
the state of a global random generator. All comparisons are bit for bit, in batches of one shape; an engine whose info
says `pads=False` promises the same for a batch of one.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from srcache.engine.interface import EngineInfo, Failure, Setup, SREngine, Unfinished, Upscaled, upscaled_side
from srcache.errors import ConformanceError

if TYPE_CHECKING:
    from torch import Tensor

_LIGHT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import importlib
found = importlib.import_module(sys.argv[2])
for name in sys.argv[3].split("."):
    found = getattr(found, name)
found.info.resolved({})
sys.exit("importing its class imports torch" if "torch" in sys.modules else 0)
"""


@dataclass(frozen=True, kw_only=True)
class EngineTrial:
    """An engine under test, and what it is tested with.

    Attributes:
        name: of its entry point; None if it was built by a function.
        build: builds it again.
        setup: what it was built with.
        engine: it, built.
        images: the plain batch, float32 (N, 3, H, W).
        seeds: one for each image.
        failing: an image that it answers with a `Failure`, if there is one.
    """

    name: str | None
    build: Callable[[], SREngine]
    setup: Setup
    engine: SREngine
    images: "Tensor"
    seeds: Sequence[int]
    failing: "Tensor | None"

    @cached_property
    def first(self) -> "list[Tensor]":
        """The outputs for the plain batch, copied."""
        return [image.detach().clone() for image in self.run(self.images, self.seeds)]

    def run(self, images: "Tensor", seeds: Sequence[int]) -> "list[Tensor]":
        """The outputs for a batch, none of which may have failed."""
        return self.images_of(self.outcomes(images, seeds), images)

    @staticmethod
    def images_of(outcomes: "Sequence[Upscaled | Failure]", images: "Tensor") -> "list[Tensor]":
        """The outputs of outcomes for a batch, none of which may have failed."""
        failed = [outcome for outcome in outcomes if not isinstance(outcome, Upscaled)]
        if failed:
            raise ConformanceError(f"expected an Upscaled for each image of {_size(images)}, but got {failed[0]!r}")
        return [outcome.image for outcome in outcomes if isinstance(outcome, Upscaled)]

    def outcomes(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """What the engine answers to a copy of a batch."""
        outcomes = self.engine.upscale(images.clone(), list(seeds))
        if not isinstance(outcomes, list) or len(outcomes) != len(images):
            got = f"{len(outcomes)} of them" if isinstance(outcomes, list) else f"a {type(outcomes).__name__}"
            raise ConformanceError(f"expected a list of {len(images)} outcomes, one per image, but got {got}")
        return outcomes


def _info(trial: EngineTrial) -> None:
    """The engine describes itself, on its class, and the setup is one that it allows."""
    info = getattr(type(trial.engine), "info", None)
    _expect(isinstance(info, EngineInfo), f"expected a class attribute `info: EngineInfo`, but got {info!r}")
    known = trial.engine.info
    _expect(trial.name in (None, known.name), f"its entry point is named {trial.name}, but its info says {known.name}")
    scale = trial.setup.scale
    _expect(known.scales is None or scale in known.scales, f"scale {scale} is none of {known.scales} in its info")
    _expect(known.batch >= 1 and known.numerics >= 1, "batch and numerics in its info must be at least 1")
    known.resolved(trial.setup.options)


def _info_without_torch(trial: EngineTrial) -> None:
    """Its info can be read in a new process without importing torch, as listings and `--help` do."""
    home = type(trial.engine)
    _expect("<locals>" not in home.__qualname__, "its class is made inside a function; no other module can import it")
    paths = json.dumps(sys.path)
    command = [sys.executable, "-c", _LIGHT, paths, home.__module__, home.__qualname__]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    _expect(done.returncode == 0, f"in a new process: {last}")


def _outcomes(trial: EngineTrial) -> None:
    """A list with one outcome per image; ordinary images do not fail."""
    trial.run(trial.images, trial.seeds)


def _shape(trial: EngineTrial) -> None:
    """(3, H, W), with sides as `upscaled_side` has them."""
    _expect_shapes(trial, trial.images, trial.first)


def _dtype(trial: EngineTrial) -> None:
    """float32, and no part of an autograd graph, which would hold its memory."""
    import torch

    for image in trial.run(trial.images, trial.seeds):
        _expect(image.dtype == torch.float32, f"expected outputs of dtype torch.float32, but got {image.dtype}")
        _expect(not image.requires_grad, "outputs must not require gradients; compute under torch.inference_mode()")


def _finite(trial: EngineTrial) -> None:
    """No NaN and no infinity."""
    _expect(all(bool(image.isfinite().all()) for image in trial.first), "an output holds NaN or infinity")


def _range(trial: EngineTrial) -> None:
    """Within [0, 1]."""
    least = min(float(image.min()) for image in trial.first)
    most = max(float(image.max()) for image in trial.first)
    _expect(least >= 0 and most <= 1, f"expected outputs in [0, 1], but they reach from {least} to {most}")


def _notes(trial: EngineTrial) -> None:
    """Plain JSON values, for the entry's record."""
    for outcome in trial.outcomes(trial.images, trial.seeds):
        notes = dict(outcome.notes) if isinstance(outcome, Upscaled) else {}
        try:
            plain = json.loads(json.dumps(notes, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ConformanceError(f"expected notes of plain JSON values, but got {notes!r} ({error})") from error
        _expect(plain == notes, f"notes change when they are written as JSON: {notes!r} becomes {plain!r}")


def _determinism(trial: EngineTrial) -> None:
    """The same call gives the same bits, whatever the global random generator does."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        for state in (1, 2):
            torch.manual_seed(state)
            _expect_equal(trial.run(trial.images, trial.seeds), trial.first, "the same call gave other pixels")


def _parts(trial: EngineTrial) -> None:
    """An engine that divides `upscale` in three gives the same bits in parts, each part in another thread."""
    engine: Any = trial.engine
    has = [hasattr(engine, name) for name in ("prepare", "compute")]
    _expect(has[0] == has[1], "an engine has both `prepare` and `compute`, or neither")
    if not all(has):
        return
    with ThreadPoolExecutor(1) as before, ThreadPoolExecutor(1) as after:
        prepared = before.submit(engine.prepare, trial.images.clone()).result()
        computed = engine.compute(prepared, list(trial.seeds))
        found = [after.submit(one.finish).result() if isinstance(one, Unfinished) else one for one in computed]
    _expect_equal(trial.images_of(found, trial.images), trial.first, "in parts, pixels are others")


def _rebuilding(trial: EngineTrial) -> None:
    """An engine built a second time gives the same bits."""
    again = trial.build().upscale(trial.images.clone(), list(trial.seeds))
    images = [outcome.image for outcome in again if isinstance(outcome, Upscaled)]
    _expect_equal(images, trial.first, "an engine built a second time gave other pixels")


def _order(trial: EngineTrial) -> None:
    """Outcomes come in the order of the images, and the order changes no pixel."""
    turned = trial.run(trial.images.flip(0), trial.seeds[::-1])
    _expect_equal(turned[::-1], trial.first, "images in reverse order gave other pixels, or came in another order")


def _alone(trial: EngineTrial) -> None:
    """An image whose batch is filled up with copies of itself comes out as it does among others."""
    for place, (image, seed) in enumerate(zip(trial.images, trial.seeds, strict=True)):
        pads = trial.engine.info.pads_on(trial.setup.device)
        count = len(trial.images) if pads else 1
        lone = trial.run(image.expand(count, -1, -1, -1), [seed] * count)[:1]
        words = "alone in a padded batch" if pads else "alone (its info says pads=False)"
        _expect_equal(lone, [trial.first[place]], f"image {place} came out otherwise {words} than among others")


def _company(trial: EngineTrial) -> None:
    """Black, white and other batch mates with other seeds change nothing."""
    import torch

    mates = torch.stack([trial.images[0], *(torch.full_like(trial.images[0], i % 2) for i in trial.seeds[1:])])
    outcome = trial.outcomes(mates, [trial.seeds[0], *range(len(trial.seeds) - 1)])[0]
    _expect(isinstance(outcome, Upscaled), f"an image failed beside black and white ones: {outcome!r}")
    images = [outcome.image] if isinstance(outcome, Upscaled) else []
    _expect_equal(images, trial.first[:1], "image 0 came out otherwise beside black and white images")


def _position(trial: EngineTrial) -> None:
    """The same image with the same seed is the same at every place in the batch."""
    count = len(trial.images)
    copies = trial.run(trial.images[:1].expand(count, -1, -1, -1), [trial.seeds[0]] * count)
    _expect_equal(copies, [copies[0]] * count, "copies of one image with one seed differ within a batch")


def _seeds(trial: EngineTrial) -> None:
    """An engine that says `stochastic` gives another image for another seed; one that does not, never."""
    import torch

    count = len(trial.images)
    outputs = trial.run(trial.images[:1].expand(count, -1, -1, -1), range(count))
    same = [torch.equal(outputs[0], other) for other in outputs[1:]]
    if trial.engine.info.stochastic:
        _expect(not any(same), "its info says stochastic=True, but other seeds gave the same image")
    else:
        _expect(all(same), "its info says stochastic=False, but other seeds gave other images")


def _odd_sizes(trial: EngineTrial) -> None:
    """Sides that no network's stride divides."""
    _expect_size(trial, (17, 23))


def _thin_images(trial: EngineTrial) -> None:
    """One pixel high, one pixel wide, one pixel."""
    for size in ((1, 13), (13, 1), (1, 1)):
        _expect_size(trial, size)


def _untouched_input(trial: EngineTrial) -> None:
    """The batch that was handed over is as it was."""
    given, seeds = trial.images.clone(), list(trial.seeds)
    trial.engine.upscale(given, seeds)
    _expect(bool((given == trial.images).all()), "the input tensor was changed")
    _expect(seeds == list(trial.seeds), "the list of seeds was changed")


def _kept_outputs(trial: EngineTrial) -> None:
    """Outputs are still the same after the next call: no memory that is used again."""
    kept = trial.run(trial.images, trial.seeds)
    trial.run(trial.images.flip(0), trial.seeds)
    _expect_equal(kept, trial.first, "the next call changed the outputs of the one before")


def failure_stays_alone(trial: EngineTrial) -> None:
    """One image's failure does not touch its batch mates."""
    if trial.failing is None:
        return
    images = trial.images.clone()
    images[1] = trial.failing
    outcomes = trial.outcomes(images, trial.seeds)
    _expect(isinstance(outcomes[1], Failure), f"expected a Failure for the failing image, but got {outcomes[1]!r}")
    mates = [outcome.image for outcome in outcomes if isinstance(outcome, Upscaled)]
    _expect_equal(mates, [trial.first[0], *trial.first[2:]], "the mates of a failed image came out otherwise")


ENGINE_CHECKS: tuple[Callable[[EngineTrial], None], ...] = (
    _info,
    _info_without_torch,
    _outcomes,
    _shape,
    _dtype,
    _finite,
    _range,
    _notes,
    _determinism,
    _parts,
    _rebuilding,
    _order,
    _alone,
    _company,
    _position,
    _seeds,
    _odd_sizes,
    _thin_images,
    _untouched_input,
    _kept_outputs,
)
"""In order; each raises ConformanceError if the promise in its docstring is broken."""


def some_images(count: int, size: tuple[int, int]) -> "Tensor":
    """Different images of one size (height, width): coarse patches with fine grain, exactly uint8 / 255."""
    import torch

    rng = torch.Generator().manual_seed(count)
    height, width = size
    coarse = torch.randint(32, 224, (count, 3, -(-height // 8), -(-width // 8)), generator=rng)
    grain = torch.randint(-32, 32, (count, 3, height, width), generator=rng)
    patches = coarse.repeat_interleave(8, -2).repeat_interleave(8, -1)[..., :height, :width]
    return (patches + grain).float() / 255


def _expect(kept: bool, words: str) -> None:
    if not kept:
        raise ConformanceError(words)


def _expect_equal(got: "Sequence[Tensor]", expected: "Sequence[Tensor]", words: str) -> None:
    import torch

    if len(got) != len(expected):
        raise ConformanceError(f"{words}: expected {len(expected)} outputs, but got {len(got)}")
    for one, other in zip(got, expected, strict=True):
        if one.shape != other.shape:
            raise ConformanceError(f"{words}: expected shape {tuple(other.shape)}, but got {tuple(one.shape)}")
        if not torch.equal(one, other):
            raise ConformanceError(f"{words} (by up to {float((one - other).abs().max()):.3g})")


def _expect_size(trial: EngineTrial, size: tuple[int, int]) -> None:
    images = some_images(2, size)
    _expect_shapes(trial, images, trial.run(images, trial.seeds[:2]))


def _expect_shapes(trial: EngineTrial, images: "Tensor", outputs: "Sequence[Tensor]") -> None:
    expected = (3, *(upscaled_side(side, trial.setup.scale) for side in images.shape[-2:]))
    for output in outputs:
        got = tuple(output.shape)
        _expect(got == expected, f"expected outputs of shape {expected} for images of {_size(images)}, but got {got}")


def _size(images: "Tensor") -> str:
    return "×".join(str(side) for side in images.shape[-2:])
