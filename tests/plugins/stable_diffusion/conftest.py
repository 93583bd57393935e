"""Networks that many tests of what engines over Stable Diffusion share need."""

from seesr_networks import tiny_folder as tiny_folder
from seesr_networks import tiny_networks as tiny_networks
from seesr_networks import tiny_networks_read as tiny_networks_read
