"""SeeSR: semantics-aware diffusion super-resolution (Wu et al., CVPR 2024, arXiv:2311.16518), for whole batches.

What it computes is what the authors' program computes, quirks included, but for its bugs; how it computes it is this
project's own. See `pipeline` for the way of a picture through it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.engine.interface import EngineInfo, Failure, Option, Setup, Upscaled
from srcache.errors import EngineError, MissingExtraError

if TYPE_CHECKING:
    from torch import Tensor

    from .pipeline import Settings

OPTIONS = {
    "steps": Option(default=50, help="sampling steps; more take longer"),
    "guidance": Option(default=5.5, help="how far to go from the negative prompt; up to 1 not at all, twice as fast"),
    "conditioning_scale": Option(default=1.0, help="weight of what the ControlNet finds in the LR picture"),
    "start": Option(default="lr", help="start from the LR picture and noise, or from noise", choices=("lr", "noise")),
    "prompt": Option(default="", help="your own words, put after the tags"),
    "added_prompt": Option(default="clean, high-resolution, 8k", help="words put after all others"),
    "negative_prompt": Option(default="dotted, noise, blur, lowres, smooth", help="what to lead away from"),
    "process_size": Option(default=512, help="pixels; the least that the shorter side of what the networks see has"),
    "encoder_tile": Option(default=1024, help="pixels; larger pictures are encoded in tiles of this side"),
    "decoder_tile": Option(default=224, help="latent cells of 8 pixels; larger ones are decoded in tiles of this side"),
    "antialias": Option(default=False, help="smooth when the tagger's picture is shrunk; as published: no"),
    "parity": Option(default=False, help="noise as the authors' program draws it for the one picture of a run"),
}


class SeeSR:
    """A bundle named by the recipe, run on this project's own loop over diffusers' modules."""

    info = EngineInfo(
        name="seesr",
        summary="diffusion SR led by an image tagger; tiles in latent cells of 8 pixels",
        scales=tuple(range(1, 9)),
        options=OPTIONS,
        precisions=("fp32", "bf16", "fp16"),
        color_fixes=("adain", "wavelet"),
        tiles=True,
        stochastic=True,
        pads_on_cpu=False,
        batch=16,
        loads=True,
        compiles=True,
        weights_licenses=("see `srcache models list`: one for each file",),
    )

    def __init__(self, setup: Setup) -> None:
        _check(setup)
        _require_packages()
        self._pipeline = _opened(setup)
        self.mode = self._pipeline.mode
        self._alone = setup.device.startswith("cpu")

    @staticmethod
    def make_weights(name: str, folder: Path) -> None:
        """Write the files of a bundle that is made on the spot; see `tiny`."""
        _require_packages()
        from .tiny import write_weights

        write_weights(folder)

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`."""
        import torch

        size = 1 if self._alone else max(1, len(images))
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            return [
                outcome
                for start in range(0, len(images), size)
                for outcome in self._pipeline.upscale(images[start : start + size], seeds[start : start + size])
            ]

    def predicted_memory(self, height: int, width: int, batch: int) -> int:
        """Bytes that a call takes beside the weights; see `SREngine` and `memory`."""
        from .memory import predicted_memory

        pipeline, count = self._pipeline, 1 if self._alone else batch
        found = predicted_memory(
            pipeline.networks, pipeline.settings, (height, width), count, captured=pipeline.captured
        )
        return found.total - found.weights


def _require_packages() -> None:
    """Refuse to go on without the packages that the networks are made of.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        import diffusers  # noqa: F401
        import timm  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(str(error.name), "seesr", "engine seesr") from error


def _check(setup: Setup) -> None:
    """Refuse settings that mean nothing.

    Raises:
        EngineError: with what to change.
    """
    wrong = [
        f"{name} must be at least {least}, but is {setup.options[name]}"
        for name, least in (("steps", 1), ("process_size", 8 * setup.scale), ("encoder_tile", 64), ("decoder_tile", 8))
        if float(setup.options[name]) < least
    ]
    if wrong:
        raise EngineError("options of seesr: " + "; ".join(wrong))


def _opened(setup: Setup) -> Any:
    """The pipeline, its networks loaded and on their device."""
    import torch

    from srcache.weights.bundle import find_bundle

    from .loading import DTYPES, Loading, load_networks
    from .pipeline import Pipeline

    device, options = torch.device(setup.device), setup.options
    how = Loading(
        device=device,
        dtype=DTYPES[setup.precision],
        conditioning_scale=float(options["conditioning_scale"]),
        encoder_tile=int(options["encoder_tile"]),
        decoder_tile=int(options["decoder_tile"]),
        antialias=bool(options["antialias"]),
    )
    with torch.inference_mode():
        networks = load_networks(find_bundle(str(setup.weights)), how)
        return Pipeline(networks, _settings(setup), device, *_mode(setup, device))


def _mode(setup: Setup, device: Any) -> tuple[str, Callable[..., Any] | None]:
    """How the inner call is run, by name, and what wraps it: one way for all pictures of a run."""
    from .cuda_graphs import Captured, compiled

    if device.type != "cuda":
        return ("compiled", compiled) if setup.compiled else ("eager", None)
    if setup.compiled:
        return "compiled, in CUDA graphs", lambda act: Captured(compiled(act))
    return "CUDA graphs", Captured


def _settings(setup: Setup) -> "Settings":
    from .pipeline import Settings

    options = setup.options
    return Settings(
        scale=int(setup.scale),
        process_size=int(options["process_size"]),
        steps=int(options["steps"]),
        guidance=float(options["guidance"]),
        start=str(options["start"]),
        prompt=str(options["prompt"]),
        added_prompt=str(options["added_prompt"]),
        negative_prompt=str(options["negative_prompt"]),
        parity=bool(options["parity"]),
        precision=setup.precision,
        tiling=setup.tiling,
        color_fix=setup.color_fix,
    )
