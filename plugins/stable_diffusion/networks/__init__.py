"""The networks that engines over Stable Diffusion share: UNet, VAE, text encoder and tagger."""
