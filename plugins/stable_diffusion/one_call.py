"""One prediction of noise for a batch, at one time, by a UNet that sees latent and prompt: all that one step needs.

Large latents are predicted window by window; the noise of all windows is averaged.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .networks.denoiser import Conditioning, UNet
from .windows import Windows, even_calls

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(latent, time, text) → noise."""


class OneCall:
    """The inner call of an engine of one step; see `pipeline.InnerCall`.

    Args:
        unet: on its device.
        time: for which it predicts.
    """

    def __init__(self, unet: UNet, time: int) -> None:
        self.predict: Predict = _prediction(unet)
        self.run = self.predict
        self._unet, self._time = unet, unet.times([time])[0]

    def predicted(self, latent: Tensor, text: Tensor, windows: Windows | None) -> Tensor:
        """The noise in latents.

        Args:
            latent: float32 (N, 4, h, w).
            text: (N, 77, C) embeddings of the prompts.
            windows: how latents are divided, if they are.

        Returns:
            float32 (N, 4, h, w).
        """
        tables = self._unet.text(text.to(self._time.dtype))
        if windows is None:
            return self.run(latent, self._time, tables)
        cut, found = windows.cut(latent), []
        for rows, count in even_calls(len(cut)):
            owners = [row // len(windows.places) for row in rows]
            which, whose = (torch.tensor(each, device=latent.device) for each in (rows, owners))
            found.append(self.run(cut[which], self._time, tables[whose])[:count])
        return windows.averaged(torch.cat(found), *latent.shape[-2:])


def _prediction(unet: UNet) -> Predict:
    def predict(latent: Tensor, time: Tensor, text: Tensor) -> Tensor:
        return unet(latent.to(time.dtype), Conditioning(time, text)).float()  # type: ignore[no-any-return]

    return predict
