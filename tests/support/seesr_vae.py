"""The small VAE of SeeSR's golden cases, and random images and latents for it."""

import torch
from seesr_fixtures import weights
from srcache_plugins.stable_diffusion.networks.vae import load_autoencoder

CONFIG, TENSORS = weights("vae_A")


def autoencoder(encoder_tile=1024, decoder_tile=224, **options):
    return load_autoencoder(CONFIG, TENSORS, encoder_tile=encoder_tile, decoder_tile=decoder_tile, **options)


def images(count=1, height=64, width=64, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def latents(count=1, height=8, width=8, seed=0):
    return torch.randn(count, 4, height, width, generator=torch.Generator().manual_seed(seed))
