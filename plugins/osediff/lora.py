"""OSEDiff's trained part: low-rank additions to Stable Diffusion's UNet and VAE, and the UNet's first convolution.

Its file is what the authors' program saves: a dictionary for each network, of tensors that peft named. Which modules
have an addition follows from their names, and so does the name of the adapter.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

from srcache.errors import WeightsError, listed

from ..stable_diffusion.networks.adapters import merge_adapters

ALPHA = 8
"""peft's own, which the authors' program leaves as it is: additions count 8 over their rank."""

UNET, VAE = "state_dict_unet.", "state_dict_vae."
"""How the names of a network's tensors begin."""

_UNET_TARGETS = (
    *("to_k", "to_q", "to_v", "to_out.0", "conv", "conv_shortcut"),
    *("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
)
_VAE_TARGETS = ("conv", "to_k", "to_q", "to_v", "to_out.0")


def merge_unet(base: Mapping[str, Tensor], lora: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The UNet's tensors with OSEDiff's in them; `conv_in` is OSEDiff's own, with its addition.

    Args:
        base: of Stable Diffusion, by diffusers' names.
        lora: the whole of OSEDiff's file.

    Raises:
        WeightsError: as `merge_adapters`, or the file has tensors of a third network.
    """
    return merge_adapters(base, _part(lora, UNET), unet_adapters(base), ALPHA, replaced=("conv_in",))


def merge_vae(base: Mapping[str, Tensor], lora: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The VAE's tensors with OSEDiff's in its encoder and `quant_conv`; arguments and errors as `merge_unet`."""
    return merge_adapters(base, _part(lora, VAE), vae_adapters(base), ALPHA)


def unet_adapters(base: Iterable[str]) -> dict[str, str]:
    """The modules that have an addition, of the names of the UNet's tensors, and the names of their adapters."""
    return {name: _adapter(name) for name in _modules(base) if any(each in name for each in _UNET_TARGETS)}


def vae_adapters(base: Iterable[str]) -> dict[str, str]:
    """The modules that have an addition, of the names of the VAE's tensors, and the names of their adapters."""
    inside = [name for name in _modules(base) if name.startswith("encoder.")]
    targets = [name for name in inside if any(each in name for each in _VAE_TARGETS)]
    return dict.fromkeys([*targets, "quant_conv"], "default_encoder")


def _adapter(module: str) -> str:
    if "down_blocks" in module or "conv_in" in module:
        return "default_encoder"
    return "default_decoder" if "up_blocks" in module or "conv_out" in module else "default_others"


def _modules(base: Iterable[str]) -> list[str]:
    return [name.removesuffix(".weight") for name in base if name.endswith(".weight") and "norm" not in name]


def _part(lora: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """What belongs to one network of the file, by the names that the network gives them."""
    strange = [name for name in lora if not name.startswith((UNET, VAE))]
    if strange:
        raise WeightsError(
            f"expected OSEDiff's file, whose tensors begin with {UNET} or {VAE}, but got {listed(strange, 3)}"
        )
    return {name.removeprefix(network): tensor for name, tensor in lora.items() if name.startswith(network)}
