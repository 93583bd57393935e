"""OSEDiff from LR images to SR images: tag the enlarged image, encode it, take one step, decode.

What its authors' program does, quirks included: the tagger sees the image that the networks see, that image's last
resize is Lanczos', the VAE's posterior is sampled, and what is decoded is truncated to 8 bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..seesr.geometry import CELL
from ..seesr.networks.denoiser import Conditioning, UNet
from ..seesr.sampling.noise import NoiseSource
from ..seesr.sampling.windows import Windows, even_calls
from ..stable_diffusion import pipeline as shared
from ..stable_diffusion.pipeline import Latents
from .loading import Networks
from .step import TIME, make_step

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(latent, time, text) → noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(shared.Settings):
    """As the shared ones; `posterior` is whether its `sample` or its `mean` is taken."""

    posterior: str = "sample"


class Pipeline(shared.Pipeline):
    """OSEDiff with its networks loaded; arguments as the shared one has them.

    Attributes:
        predict: the UNet's prediction, of tensors alone. It does not know the pipeline, so that what is made of it
            (a recording, compiled code) keeps nothing alive that keeps it alive.
        run: does the same, and may be replaced by something that does it faster.
        in_graphs: whether it is run from CUDA graphs, which keep memory aside.
    """

    last_resize = "lanczos"
    networks: Networks
    settings: Settings

    def __init__(
        self,
        networks: Networks,
        settings: Settings,
        device: torch.device,
        mode: str = "eager",
        wrap: Callable[[Predict], Predict] | None = None,
        noise: Callable[[Sequence[int], tuple[int, int]], NoiseSource] | None = None,
    ) -> None:
        super().__init__(networks, settings, device, mode, noise)
        self.step, self._time = make_step(networks.scheduler), networks.unet.times([TIME])[0]
        self.predict = self.run = _prediction(networks.unet)
        self.in_graphs = wrap is not None and device.type == "cuda"
        if wrap is not None:
            self.run = wrap(self.predict)

    def latents(self, images: Tensor, control: Tensor, seeds: Sequence[int], windows: Windows | None) -> Latents:
        """The latents of a batch; arguments as in the shared pipeline."""
        seen = control.float() / 255
        tags, _ = self.networks.tagger(seen)
        prompts = [prompt_text(each, self.settings.prompt) for each in tags]
        noise = self.noise(seeds, (control.shape[-2] // CELL, control.shape[-1] // CELL))
        drawn = noise.draw_posterior() if self.settings.posterior == "sample" else None
        latent = self.encode(seen, drawn)
        predicted = self.predicted(latent, self.networks.text.encode(prompts), windows)
        clean = self.step.clean_latent(latent, predicted) / self.networks.vae.scaling_factor
        return Latents(clean, [{"tags": one, "prompt": other} for one, other in zip(tags, prompts, strict=True)])

    def levels(self, decoded: Tensor) -> Tensor:
        """A decoded image in 8 bits, truncated."""
        return (decoded.clamp(-1, 1) * 0.5 + 0.5).mul(255).to(torch.uint8)

    def predicted(self, latent: Tensor, text: Tensor, windows: Windows | None) -> Tensor:
        """The noise in latents.

        Args:
            latent: float32 (N, 4, h, w).
            text: (N, 77, C) embeddings of the prompts.
            windows: how latents are divided, if they are.

        Returns:
            float32 (N, 4, h, w).
        """
        tables = self.networks.unet.text(text.to(self._time.dtype))
        if windows is None:
            return self.run(latent, self._time, tables)
        cut, found = windows.cut(latent), []
        for rows, count in even_calls(len(cut)):
            owners = [row // len(windows.places) for row in rows]
            found.append(self.run(cut[self._index(rows)], self._time, tables[self._index(owners)])[:count])
        return windows.averaged(torch.cat(found), *latent.shape[-2:])

    def _index(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, device=self.device)


def prompt_text(tags: str, user: str) -> str:
    """The prompt as OSEDiff writes it, with a comma of its own where the user says nothing.

    >>> prompt_text("cat, tree", "")
    'cat, tree, ,'
    """
    return f"{tags}, {user},"


def _prediction(unet: UNet) -> Predict:
    def predict(latent: Tensor, time: Tensor, text: Tensor) -> Tensor:
        return unet(latent.to(time.dtype), Conditioning(time, text)).float()  # type: ignore[no-any-return]

    return predict
