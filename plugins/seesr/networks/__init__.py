"""The networks that SeeSR has beside Stable Diffusion's: its ControlNet, and attention to images."""
