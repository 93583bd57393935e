"""What engines over Stable Diffusion share: its networks, RAM's tagger, tiles, colour fixes, memory and loading.

No engine is here. One writes what is its own (its UNet's way to a clean latent, its options, its recipe) and imports
the rest; nothing else does.
"""
