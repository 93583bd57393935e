"""Small random networks of spandrel's architectures as checkpoints; and, as an oracle, what spandrel makes of them."""

import warnings
from dataclasses import dataclass

import pytest
import torch

from srcache.engine.registry import open_engine
from srcache.recipe.reading import load_recipe

spandrel = pytest.importorskip("spandrel")


@dataclass(frozen=True)
class Net:
    """How a small network is made, and what spandrel should find out about its checkpoint."""

    home: str
    arguments: dict
    scale: int = 2
    step: int = 1
    tiles: bool = True
    half: bool = False


WINDOWS = {"embed_dim": 12, "num_heads": [2], "window_size": 8, "img_size": 16, "upscale": 2}

NETS = {
    "compact": Net("Compact.Compact", {"num_feat": 8, "num_conv": 2, "upscale": 2}, half=True),
    "esrgan": Net("ESRGAN.ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 4}, scale=4, half=True),
    "esrgan-shuffled": Net(
        "ESRGAN.ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 2, "shuffle_factor": 2}, step=4, half=True
    ),
    "swinir": Net("SwinIR.SwinIR", {**WINDOWS, "depths": [2], "upsampler": "pixelshuffledirect"}, tiles=False),
    "swin2sr": Net("Swin2SR.Swin2SR", {**WINDOWS, "depths": [2], "upsampler": "pixelshuffledirect"}),
    "hat": Net("HAT.HAT", {**WINDOWS, "depths": (2,), "squeeze_factor": 6, "mlp_ratio": 2.0}),
    "dat": Net(
        "DAT.DAT",
        {"embed_dim": 32, "split_size": [2, 4], "depth": [2], "num_heads": [2], "upscale": 2, "img_size": 16},
    ),
    "span": Net("SPAN.SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2}, half=True),
    "cugan": Net("RealCUGAN.UpCunet2x", {}, half=True),
    "omnisr": Net("OmniSR.OmniSR", {"num_feat": 16, "up_scale": 2}, half=True),
    "plksr": Net("PLKSR.RealPLKSR", {"dim": 8, "n_blocks": 2, "upscaling_factor": 2, "kernel_size": 5}),
    "safmn": Net("SAFMN.SAFMN", {"dim": 8, "n_blocks": 1, "upscaling_factor": 2}, step=8),
    "ditn": Net("DITN.DITN", {"dim": 12, "ITL_blocks": 1, "SAL_blocks": 1, "upscale": 2}, step=8, half=True),
    "rcan": Net("RCAN.RCAN", {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}),
    "mosr": Net("MoSR.MoSR", {"upscale": 2, "n_block": 1, "dim": 16}, half=True),
    "swift": Net("SwiftSRGAN.SwiftSRGAN", {"num_channels": 8, "num_blocks": 1, "upscale_factor": 2}, half=True),
}

AURA = Net(
    "AuraSR.AuraSR",
    {
        **{"dim": 8, "init_dim": 8, "image_size": None, "input_image_size": None, "self_attn_dim_head": 4},
        **{"style_network": {"dim_in": 16, "dim_out": 64, "depth": 2}, "up_dim_mults": (1,) * 5},
        **{"down_dim_mults": (1,) * 3, "full_attn": (False,) * 5, "attn_depths": (2,) * 5, "mid_attn_depth": 1},
        **{"num_conv_kernels": 2, "skip_connect_scale": 0.4},
    },
    scale=4,
    step=8,
)
"""A network that draws noise whenever it is run."""


def tensors(home, arguments, seed=0):
    """The tensors of a random network of one of spandrel's classes."""
    family, name = home.split(".")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        network = getattr(getattr(spandrel.architectures, family), name)(**arguments)
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def recipe_of(weights, folder, **fields):
    lines = [f"{name}: {value}\n" for name, value in {"engine": "spandrel", "scale": 2, **fields}.items()]
    (folder / "mine.yaml").write_text("".join([*lines, f"weights: {weights}\n"]))
    return load_recipe(folder / "mine.yaml")


def opened(weights, folder, **fields):
    recipe = recipe_of(weights, folder, **fields)
    return open_engine(recipe.engine, recipe.setup("cpu"))


def photo(height, width, count=1, seed=0):
    """Images in [0, 1], smooth with some grain."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return ((smooth + 0.05 * torch.rand(count, 3, height, width, generator=rng)).clamp(0, 1) * 255).round() / 255


def pixels(engine, images):
    return torch.stack([outcome.image for outcome in engine.upscale(images, range(len(images)))])


def oracle(file, images):
    """What spandrel makes of the file, image by image; networks may write into their input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = spandrel.ModelLoader(device="cpu").load_from_file(file).eval()
    return torch.cat([model(image[None].clone()) for image in images])
