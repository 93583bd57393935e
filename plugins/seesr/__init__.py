"""SeeSR: semantics-aware diffusion super-resolution (Wu et al., CVPR 2024, arXiv:2311.16518), in batches.

It computes what the authors' program computes, quirks included, but for its bugs; how it computes it is this project's
own. The way of an image through it is in `pipeline`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from srcache.engine.interface import EngineInfo, Option, Setup

from ..stable_diffusion import engine as shared

if TYPE_CHECKING:
    from .pipeline import Pipeline, Settings

OPTIONS = {
    "steps": Option(default=50, help="sampling steps; more take longer"),
    "guidance": Option(default=5.5, help="how far to go from the negative prompt; up to 1 not at all, twice as fast"),
    "conditioning_scale": Option(default=1.0, help="weight of what the ControlNet finds in the LR image"),
    "start": Option(default="lr", help="start from the LR image and noise, or from noise", choices=("lr", "noise")),
    "prompt": shared.PROMPT,
    "added_prompt": Option(default="clean, high-resolution, 8k", help="words put after all others"),
    "negative_prompt": Option(default="dotted, noise, blur, lowres, smooth", help="what to lead away from"),
    "process_size": shared.PROCESS_SIZE,
    "encoder_tile": shared.ENCODER_TILE,
    "decoder_tile": shared.DECODER_TILE,
    "antialias": shared.ANTIALIAS,
    "solver": Option(
        default="ddpm",
        help="the authors' sampler, or DPM-Solver++, for which some 20 steps are enough",
        choices=("ddpm", "dpm++"),
        late=True,
    ),
    "guided_share": Option(
        default=1.0,
        help="the share of the steps, from the first on, that is guided; later ones take half as long",
        late=True,
    ),
    "parity": Option(default=False, help="noise as the authors' program draws it for the one image of a run"),
}


class SeeSR(shared.DiffusionEngine):
    """The engine `seesr`: a recipe's bundle of weights, run by this project's own loop over diffusers' modules."""

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

    @staticmethod
    def make_weights(name: str, folder: Path) -> None:
        """Write the files of `seesr-tiny`, the bundle that is made on the spot, into a folder."""
        shared.require_packages("seesr")
        from .tiny import write_weights

        write_weights(folder)

    @staticmethod
    def check_weights(parts: Mapping[str, Path]) -> None:
        """Compare a bundle's files with what the networks expect; raises as `loading.check_parts`."""
        shared.require_packages("seesr")
        from .loading import check_parts

        check_parts(parts)

    def out_of_range(self, setup: Setup) -> list[str]:
        """What is wrong with the values of options, in words."""
        wrong = [*shared.below(setup, {"steps": 1}), *super().out_of_range(setup)]
        if not 0 <= float(setup.options["guided_share"]) <= 1:
            wrong.append(f"guided_share must be from 0 to 1, but is {setup.options['guided_share']}")
        return wrong

    def open_pipeline(self, setup: Setup) -> "Pipeline":
        """The pipeline, its networks loaded and on their device."""
        import torch

        from srcache.weights.bundle import find_bundle

        from .loading import Loading, load_networks
        from .pipeline import Pipeline

        scale = float(setup.options["conditioning_scale"])
        loading = Loading(**shared.loading_of(setup), conditioning_scale=scale)
        with torch.inference_mode():
            networks = load_networks(find_bundle(str(setup.weights)), loading)
            way = shared.way_of_running(setup.compiled, loading.device)
            return Pipeline(networks, _settings(setup), loading.device, *way)


def _settings(setup: Setup) -> "Settings":
    from .pipeline import Settings

    options = setup.options
    return Settings(
        **shared.settings_of(setup),
        steps=int(options["steps"]),
        guidance=float(options["guidance"]),
        start=str(options["start"]),
        added_prompt=str(options["added_prompt"]),
        negative_prompt=str(options["negative_prompt"]),
        solver=str(options["solver"]),
        guided_share=float(options["guided_share"]),
    )
