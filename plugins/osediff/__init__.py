"""OSEDiff: diffusion super-resolution in one step (Wu et al., NeurIPS 2024, arXiv:2406.08177), in batches.

It computes what the authors' program computes, quirks included, but for its bugs; how it computes it is this project's
own. The way of an image through it is in `pipeline`; most of it is what all engines over Stable Diffusion share.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from srcache.engine.interface import EngineInfo, Option, Setup

from ..stable_diffusion import engine as shared

if TYPE_CHECKING:
    from .pipeline import Pipeline

OPTIONS = {
    "prompt": shared.PROMPT,
    "process_size": shared.PROCESS_SIZE,
    "encoder_tile": shared.ENCODER_TILE,
    "decoder_tile": shared.DECODER_TILE,
    "antialias": shared.ANTIALIAS,
    "posterior": Option(
        default="sample",
        help="what the step begins with: a sample of the encoder's latents, as published, or their mean",
        choices=("sample", "mean"),
    ),
    "parity": Option(default=False, help="draw the sample as torch does after the seed that the record names"),
}


class OSEDiff(shared.DiffusionEngine):
    """The engine `osediff`: a recipe's bundle of weights, with one call of the UNet for an image."""

    info = EngineInfo(
        name="osediff",
        summary="diffusion SR in one step, led by an image tagger; tiles in latent cells of 8 pixels",
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

    @staticmethod
    def make_weights(name: str, folder: Path) -> None:
        """Write the files of `osediff-tiny`, the bundle that is made on the spot, into a folder."""
        shared.require_packages("osediff")
        from .tiny import write_weights

        write_weights(folder)

    @staticmethod
    def check_weights(parts: Mapping[str, Path]) -> None:
        """Compare a bundle's files with what the networks expect; raises as `loading.check_parts`."""
        shared.require_packages("osediff")
        from .loading import check_parts

        check_parts(parts)

    def open_pipeline(self, setup: Setup) -> "Pipeline":
        """The pipeline, its networks loaded and on their device."""
        import torch

        from srcache.weights.bundle import find_bundle

        from ..stable_diffusion.loading import Loading
        from .loading import load_networks
        from .pipeline import Pipeline, Settings

        loading = Loading(**shared.loading_of(setup))
        settings = Settings(**shared.settings_of(setup), posterior=str(setup.options["posterior"]))
        with torch.inference_mode():
            networks = load_networks(find_bundle(str(setup.weights)), loading)
            return Pipeline(networks, settings, loading.device, *shared.way_of_running(setup.compiled, loading.device))
