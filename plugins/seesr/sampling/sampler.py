"""From noise to a latent image: the loop over the steps, for batches of images, and for all windows of large latents.

Within the loop nothing waits for the device: what a step needs from the host is its noise, which is drawn while the
device still computes the step before.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...stable_diffusion.geometry import CELL
from ...stable_diffusion.networks.denoiser import Conditioning, UNet
from ...stable_diffusion.noise import NoiseSource
from ...stable_diffusion.windows import Windows, even_calls
from ..networks.controlnet import ControlNet, predict_noise
from .schedule import Schedule, ScheduleStep

Predict = Callable[..., Tensor]
"""(latent, control, *Conditioning of the UNet, *Conditioning of the ControlNet) → noise; all tensors."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """What a batch is conditioned on.

    Attributes:
        text: (B, 77, C) embeddings of the prompts.
        images: (B, T, 512) the tagger's embeddings of the images.
    """

    text: Tensor
    images: Tensor


@dataclass(frozen=True, slots=True)
class WindowPart:
    """What is predicted together: some rows of a batch, or some windows of its latents.

    Attributes:
        count: how many of the rows count; the others fill up.
        rows: (N,) which rows or windows.
        control: (N, C, h, w) the ControlNet's embedding of their control images.
        text, images: which rows of the batch's keys and values are theirs.
    """

    count: int
    rows: Tensor
    control: Tensor
    text: Tensor
    images: Tensor

    def unguided(self) -> "WindowPart":
        """The same without the rows of the negative prompt, which are the first half."""
        rows = len(self.rows)
        return replace(self, text=self.text[rows:], images=self.images[rows:])


class Sampler:
    """Denoises latents: SeeSR's two networks with the schedule and the guidance of a recipe.

    Args:
        unet: and `controlnet`, on one device, in one dtype.
        schedule: the steps.
        guidance: above 1, predictions are guided away from the negative prompt.
        guided_steps: how many of the first steps are guided; None for all.
        negative: (1, 77, C), the embedding of that prompt.

    Attributes:
        predict: `denoiser.predict_noise`, of tensors alone. It knows the networks but not the sampler, so that what is
            made of it (a recording, compiled code) keeps nothing alive that keeps it alive.
        run: does the same, and may be replaced by something that does it faster.
    """

    def __init__(
        self,
        unet: UNet,
        controlnet: ControlNet,
        schedule: Schedule,
        guidance: float,
        negative: Tensor,
        guided_steps: int | None = None,
    ) -> None:
        self._guided_steps = len(schedule.steps) if guided_steps is None else guided_steps
        self.networks, self.schedule, self.guidance = (unet, controlnet), schedule, guidance
        self.predict = self.run = _prediction(unet, controlnet, guidance)
        self._dtype, self._device = unet.conv_in.weight.dtype, unet.conv_in.weight.device
        timesteps = [step.timestep for step in schedule.steps]
        self._times = [network.times(timesteps) for network in self.networks]
        self._negative = [network.text(self._to_device(negative)) for network in self.networks]

    @property
    def is_guided(self) -> bool:
        """Whether each image is predicted twice, with its own and with the negative prompt."""
        return self.guidance > 1

    def sample(
        self, control_images: Tensor, prompts: Prompts, start: Tensor, noise: NoiseSource, windows: Windows | None
    ) -> Tensor:
        """Denoise a batch.

        Args:
            control_images: float32 (B, 3, 8·h, 8·w) in [0, 1].
            prompts: their embeddings.
            start: float32 (B, 4, h, w), the latents to begin with.
            noise: where the noise of the steps comes from.
            windows: how latents are divided, if they are.

        Returns:
            Latents, float32 (B, 4, h, w), in the VAE's scaled units.
        """
        latent, parts = start, self._parts(control_images, windows)
        tables, clean = self._keys_and_values(prompts), None
        kept: list[Tensor] | None = None
        for number, step in enumerate(self.schedule.steps):
            if self.is_guided and number == self._guided_steps:
                parts, kept = [part.unguided() for part in parts], None
            if kept is None and len(parts) == 1:
                kept = _rows_of_part(tables, parts[0])
            pieces = windows.cut(latent) if windows else latent
            found = [self._predict_part(pieces, part, kept or _rows_of_part(tables, part), number) for part in parts]
            predicted = windows.averaged(torch.cat(found), *latent.shape[-2:]) if windows else found[0]
            latent, clean = _next(step, latent, predicted, noise, clean)
        return latent

    def _predict_part(self, pieces: Tensor, part: WindowPart, keys_values: list[Tensor], number: int) -> Tensor:
        """The noise in a part, at a step."""
        pairs = zip(self._times, keys_values[::2], keys_values[1::2], strict=True)
        conditioning = [tensor for times, text, images in pairs for tensor in (times[number], text, images)]
        return self.run(pieces[part.rows], part.control, *conditioning)[: part.count]

    def _parts(self, control_images: Tensor, windows: Windows | None) -> list[WindowPart]:
        """What is predicted together: the batch as it is, or its windows, divided evenly among calls of one size."""
        if windows is None:
            return [self._part(control_images, 1, list(range(len(control_images))), len(control_images))]
        cut, each = windows.cut(control_images, CELL), len(windows.places)
        return [self._part(cut, each, *call) for call in even_calls(len(cut))]

    def _part(self, control_images: Tensor, each: int, rows: list[int], count: int) -> WindowPart:
        """What belongs to some rows of `control_images`: one for each image, or `each` windows of every one."""
        owners, index = [row // each for row in rows], torch.tensor(rows, device=self._device)
        control = self.networks[1].embedding(self._to_device(control_images[index]))
        text = [0] * len(owners) + [1 + owner for owner in owners] if self.is_guided else owners
        images = owners * 2 if self.is_guided else owners
        return WindowPart(count, index, control, *(torch.tensor(each, device=self._device) for each in (text, images)))

    def _keys_and_values(self, prompts: Prompts) -> list[Tensor]:
        """Of text and image, for UNet and ControlNet; with guidance, the negative prompt is the first row of text."""
        tables = []
        for network, negative in zip(self.networks, self._negative, strict=True):
            text, images = network.text(self._to_device(prompts.text)), network.images(self._to_device(prompts.images))  # type: ignore[misc]
            tables += [torch.cat([negative, text]) if self.is_guided else text, images]
        return tables

    def _to_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self._dtype)


def _prediction(unet: UNet, controlnet: ControlNet, guidance: float) -> Predict:
    def predict(latent: Tensor, control: Tensor, *tensors: Tensor) -> Tensor:
        both = Conditioning(*tensors[:3]), Conditioning(*tensors[3:])
        return predict_noise(unet, controlnet, latent, control, both, guidance)

    return predict


def _next(
    step: ScheduleStep, latent: Tensor, predicted: Tensor, noise: NoiseSource, clean: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The latent after a step, and the clean one that the step estimates, if it does; `clean` is the last estimate."""
    after = latent * step.keep + predicted * step.remove
    if step.draws:
        after = after + noise.draw() * step.add
    if clean is not None and step.before:
        after = after + clean * step.before
    return after, None if step.estimate is None else latent * step.estimate[0] + predicted * step.estimate[1]


def _rows_of_part(tables: list[Tensor], part: WindowPart) -> list[Tensor]:
    """The rows of keys and values that belong to a part."""
    return [table[rows] for table, rows in zip(tables, [part.text, part.images] * 2, strict=True)]
