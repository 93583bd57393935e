"""The networks that SeeSR is made of: UNet, ControlNet, VAE, text encoder and tagger."""
